// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/custom"
)

func newSync(s Streams) *cobra.Command {
	c := &cobra.Command{Use: "sync", Short: "Look at kinds of sync.custom"}
	var file, kubeconfig string
	test := &cobra.Command{
		Use:   "test FILE",
		Short: "Print what the host would get of the objects that are there",
		Long: `Translate the objects of the virtual cluster by the sync.custom of FILE, a piece
of portico.yaml or values of the chart, and print each before and after, as YAML.
Nothing is written. An object that would stay inside has the reason, and fields
that look like references and have no rule are listed. - reads standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := config.Read(file)
			if err != nil {
				return &usageError{withHint(err, "--config is the configuration of the cluster")}
			}
			if kubeconfig == "" {
				kubeconfig = cfg.KubeconfigPath
			}
			piece, err := readPiece(s, args[0])
			if err != nil {
				return err
			}
			if err := config.ReplaceCustom(cfg, piece); err != nil {
				return &usageError{withHint(fmt.Errorf("%s: %w", args[0], err), "docs/configuration.md explains each key")}
			}
			virtual, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return withHint(fmt.Errorf("kubeconfig of the virtual cluster: %w", err), "name one with --kubeconfig")
			}
			return syncTest(c.Context(), s.Out, cfg, virtual)
		},
	}
	test.Flags().StringVarP(&file, "config", "c", "", "configuration of the cluster (portico.yaml)")
	test.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of the virtual cluster; that which porticod writes, if empty")
	c.AddCommand(test)
	return c
}

func readPiece(s Streams, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(s.In)
	}
	return os.ReadFile(name)
}

// syncTest prints a dry run of all kinds that are for the host.
func syncTest(ctx context.Context, out io.Writer, cfg *config.Config, virtual *rest.Config) error {
	t, err := rewrite.New(rewrite.Cluster{Name: cfg.Name, HostNamespace: cfg.Host.Namespace})
	if err != nil {
		return err
	}
	objects, err := dynamic.NewForConfig(virtual)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(virtual)
	if err != nil {
		return err
	}
	for i := range cfg.Sync.Custom {
		k := &cfg.Sync.Custom[i]
		rewriter, err := custom.NewRewriter(k.Rewrite, t)
		if err != nil {
			return fmt.Errorf("sync.custom[%d]: %w", i, err)
		}
		if k.Direction != config.CustomToHost {
			fmt.Fprintf(out, "# %s: shown from the host\n", k.Definition())
			continue
		}
		rules, err := k.Rules()
		if err != nil {
			return err
		}
		selected, err := k.Selected()
		if err != nil {
			return err
		}
		version, err := preferredVersion(client, k)
		if err != nil {
			return err
		}
		if version == "" {
			fmt.Fprintf(out, "# %s: the virtual cluster does not have this kind yet\n", k.Definition())
			continue
		}
		n := 0
		err = custom.DryRun(ctx, custom.Config{Kind: rules, Resource: k.Plural(), Selector: selected, Rewriter: rewriter, Translator: t}, objects, version, func(d custom.Dry) error {
			n++
			return printDry(out, k, d)
		})
		if apierrors.IsNotFound(err) {
			fmt.Fprintf(out, "# %s: the virtual cluster does not have this kind yet\n", k.Definition())
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "# %s: %d objects\n", k.Definition(), n)
	}
	return nil
}

// preferredVersion is the version of a kind's group that the virtual cluster
// prefers, or the first that the configuration names.
func preferredVersion(client kubernetes.Interface, k *config.Custom) (string, error) {
	if len(k.Versions) > 0 {
		return k.Versions[0], nil
	}
	groups, err := client.Discovery().ServerGroups()
	if err != nil {
		return "", fmt.Errorf("ask the virtual cluster for its groups: %w", err)
	}
	for i := range groups.Groups {
		if groups.Groups[i].Name == k.Group {
			return groups.Groups[i].PreferredVersion.Version, nil
		}
	}
	return "", nil
}

func printDry(out io.Writer, k *config.Custom, d custom.Dry) error {
	fmt.Fprintf(out, "---\n# %s %s/%s\n# before\n", k.Kind, d.Virtual.GetNamespace(), d.Virtual.GetName())
	if err := printObject(out, d.Virtual); err != nil {
		return err
	}
	for _, path := range d.Undeclared {
		fmt.Fprintf(out, "# looks like a reference, and has no rule: %s\n", path)
	}
	if d.Refused != nil {
		fmt.Fprintf(out, "# stays inside: %s\n", strings.ReplaceAll(d.Refused.Error(), "\n", "\n# "))
		return nil
	}
	fmt.Fprintln(out, "---\n# after")
	return printObject(out, d.Host)
}

// printObject prints an object without the parts that nobody reads.
func printObject(out io.Writer, o *unstructured.Unstructured) error {
	o = o.DeepCopy()
	o.SetManagedFields(nil)
	delete(o.Object, "status")
	annotations := o.GetAnnotations()
	delete(annotations, rewrite.AnnotationOverlay)
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}
