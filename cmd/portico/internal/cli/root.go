// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/charts"
	"portico.dev/portico/cmd/internal/suggest"
	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/forward"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/release"
)

// defaultTimeout is the limit of a command's waits, each.
const defaultTimeout = 5 * time.Minute

// app is the state that the commands share. Tests put fakes into it.
type app struct {
	streams output.Streams
	command string // how a person calls it

	// Global flags.
	host      host.Options
	namespace string
	verbose   bool

	open       func(o host.Options, name string) (*host.Host, error)
	releases   func(h *host.Host, namespace string) (*release.Client, error)
	chart      func() (*chart.Chart, error)
	executable func() (string, error)
	feed       func(ctx context.Context, h *host.Host, pod *corev1.Pod, in io.Reader) error
	background func() (string, error) // directory of background forwards
	now        func() time.Time
}

func newApp(s output.Streams, command string) *app {
	a := &app{
		streams: s, command: command,
		open: host.Open, chart: charts.Load, executable: os.Executable, background: forward.Dir, now: time.Now,
		feed: func(ctx context.Context, h *host.Host, pod *corev1.Pod, in io.Reader) error {
			return inpod.Feed(ctx, h.REST, h.Client, pod, in)
		},
	}
	a.releases = a.helm
	return a
}

// Main runs portico and returns its exit code: 0 done, 1 failed, 2 misused, or
// that of the command that connect has run.
func Main(ctx context.Context, s output.Streams, args []string) int {
	return newApp(s, commandName(args[0])).run(ctx, args[1:])
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command ") { // cobra has no type for it
		err = output.Misuse(output.WithHint(err, "%s", a.meant(root, err)))
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = output.WithHint(errors.New("interrupted"), "the same command goes on from here")
	}
	return output.Report(a.streams.Err, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "portico",
		Short:         "Virtual Kubernetes clusters in namespaces of a host cluster",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	if a.command != "portico" {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: a.command}
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.namespace, "namespace", "n", "", "host namespace of the virtual cluster (default: wherever it is; portico-NAME for a new one)")
	f.StringVar(&a.host.Context, "context", "", "context of the host cluster (default: the current one)")
	f.StringVar(&a.host.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: those of kubectl)")
	f.BoolVar(&a.verbose, "debug", false, "show the work of Helm")
	root.SetIn(a.streams.In)
	root.SetOut(a.streams.Out)
	root.SetErr(a.streams.Err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return output.Misuse(output.WithHint(err, "%s", meantFlag(c, err)))
	})
	root.AddCommand(a.newCreate(), a.newConnect(), a.newDisconnect(), a.newList(), a.newDelete(),
		a.newStatus(), a.newDescribe(), a.newLogs(), a.newPause(), a.newResume(), a.newSleep(), a.newWake(), a.newUpgrade(), a.newRotate(),
		a.newSnapshot(), a.newRestore(), a.newDebug(), a.newDoctor(), a.newUI(), a.newConvert(), a.newSync(), a.newVersion(), a.newForward())
	return root
}

// meant is a hint for a command that does not exist.
func (a *app) meant(root *cobra.Command, unknown error) string {
	var word string
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	if _, err := fmt.Sscanf(unknown.Error(), "unknown command %q", &word); err == nil {
		if name := suggest.Closest(word, names); name != "" {
			return fmt.Sprintf("did you mean %s %s?", a.command, name)
		}
	}
	return fmt.Sprintf("see %s --help", a.command)
}

// meantFlag is a hint for an error about flags.
func meantFlag(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if name := suggest.Closest(unknown.GetSpecifiedName(), names); name != "" {
			return fmt.Sprintf("did you mean --%s?", name)
		}
	}
	return fmt.Sprintf("see %s --help", c.CommandPath())
}

// helm opens the releases of a namespace.
func (a *app) helm(h *host.Host, namespace string) (*release.Client, error) {
	c, err := a.chart()
	if err != nil {
		return nil, err
	}
	log := slog.DiscardHandler
	if a.verbose {
		log = slog.NewTextHandler(a.streams.Err, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	client, err := release.Open(h.Getter(namespace), namespace, c, log)
	if err != nil {
		return nil, err
	}
	client.Say = a.streams.Say
	return client, nil
}

func finder(h *host.Host) cluster.Finder {
	return cluster.Finder{Client: h.Client, Metadata: h.Metadata}
}

// find opens the host of a cluster and finds the cluster there. From within
// another virtual cluster it is looked for there first, and then on that one's
// host, and so on.
func (a *app) find(ctx context.Context, name string) (*host.Host, *cluster.Cluster, error) {
	if err := cluster.CheckName(name); err != nil {
		return nil, nil, err
	}
	for o := a.host; ; {
		h, err := a.open(o, name)
		if err != nil {
			return nil, nil, err
		}
		c, err := finder(h).Find(ctx, a.namespace, name)
		if errors.Is(err, cluster.ErrNotFound) && h.Inside != nil && a.host.Context == "" {
			o.Context = h.Inside.HostContext
			continue
		}
		return h, c, err
	}
}

// oneName takes exactly the name of a cluster.
func oneName(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return output.Misuse(output.WithHint(fmt.Errorf("want the name of one virtual cluster, got %d arguments", len(args)), "see %s --help", c.CommandPath()))
	}
	return nil
}

func none(c *cobra.Command, args []string) error {
	if len(args) != 0 {
		return output.Misuse(output.WithHint(fmt.Errorf("want no argument, got %q", args[0]), "see %s --help", c.CommandPath()))
	}
	return nil
}
