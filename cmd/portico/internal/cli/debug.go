// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/inpod"
	"portico.dev/portico/cmd/portico/internal/output"
)

// lastLines is how much of a log is collected.
const lastLines = int64(20000)

func (a *app) newDebug() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "debug NAME",
		Short: "Collect the logs and objects that show a fault",
		Long: `Collect a gzipped tar archive with the state of a virtual cluster's control plane:
its objects on the host, warnings and logs. No Secret is in it. The values and the
logs are in it as they are: read them before you hand them on.`,
		Args: oneName,
		RunE: func(c *cobra.Command, args []string) error {
			h, o, err := a.look(c.Context(), args[0])
			if err != nil {
				return err
			}
			if path == "" {
				path = fmt.Sprintf("portico-debug-%s-%s.tar.gz", o.Name, a.now().UTC().Format("20060102-150405"))
			}
			return a.debug(c.Context(), h, o, path)
		},
	}
	c.Flags().StringVar(&path, "output-filename", "", "file that is written, or - for standard output (default: portico-debug-NAME-TIME.tar.gz)")
	return c
}

func (a *app) debug(ctx context.Context, h *host.Host, o *overview, path string) error {
	if path == "-" {
		return a.bundle(ctx, h, o, a.streams.Out)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return output.WithHint(fmt.Errorf("collect: %s exists", path), "--output-filename names another")
	}
	if err != nil {
		return fmt.Errorf("collect: %w", err)
	}
	if err := errors.Join(a.bundle(ctx, h, o, f), f.Close()); err != nil {
		return err
	}
	a.streams.Say("collected %s", path)
	return nil
}

// bundle writes the archive. A part that cannot be had is replaced by the reason.
func (a *app) bundle(ctx context.Context, h *host.Host, o *overview, to io.Writer) error {
	zipped := gzip.NewWriter(to)
	archive := tar.NewWriter(zipped)
	add := func(name string, content []byte, err error) error {
		if err != nil {
			name, content = name+".error", []byte(err.Error()+"\n")
		}
		header := &tar.Header{Name: o.Name + "/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: a.now()}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("collect %s: %w", name, err)
		}
		if _, err := archive.Write(content); err != nil {
			return fmt.Errorf("collect %s: %w", name, err)
		}
		return nil
	}
	objects := a.objects(ctx, h, o)
	for _, part := range objects {
		content, err := part.content, part.err
		var text []byte
		if err == nil {
			text, err = yaml.Marshal(content)
		}
		if err := add(part.name, text, err); err != nil {
			return err
		}
	}
	pods, err := inpod.List(ctx, h.Client, o.Namespace, o.Name)
	if err != nil {
		return err
	}
	for i := range pods {
		for suffix, previous := range map[string]bool{".log": false, ".previous.log": true} {
			var log bytes.Buffer
			lines := lastLines
			err := inpod.Log(ctx, h.Client, &pods[i], corev1.PodLogOptions{Previous: previous, TailLines: &lines, Timestamps: true}, &log)
			if err := add("logs/"+pods[i].Name+suffix, log.Bytes(), err); err != nil {
				return err
			}
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}

type part struct {
	name    string
	content any
	err     error
}

// objects returns the cluster's objects on the host, but for Secrets and the
// tenant's.
func (a *app) objects(ctx context.Context, h *host.Host, o *overview) []part {
	namespace, own := o.Namespace, metav1.ListOptions{LabelSelector: "portico.dev/door=" + o.Name}
	core, apps := h.Client.CoreV1(), h.Client.AppsV1()
	parts := []part{{name: "overview.yaml", content: o}}
	add := func(name string, content any, err error) { parts = append(parts, part{name, content, err}) }
	version, err := h.Client.Discovery().ServerVersion()
	add("host-version.yaml", map[string]any{"host": version, "portico": served(), "collected": a.now().UTC().Format(time.RFC3339)}, err)
	config, err := core.ConfigMaps(namespace).Get(ctx, o.Name+"-config", metav1.GetOptions{})
	add("config.yaml", config, err)
	sets, err := apps.StatefulSets(namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/cluster=" + o.Name})
	add("statefulsets.yaml", sets, err)
	deployments, err := apps.Deployments(namespace).List(ctx, metav1.ListOptions{LabelSelector: "portico.dev/cluster=" + o.Name})
	add("deployments.yaml", deployments, err)
	pods, err := core.Pods(namespace).List(ctx, own)
	add("pods.yaml", pods, err)
	service, err := core.Services(namespace).Get(ctx, o.Name, metav1.GetOptions{})
	add("service.yaml", service, err)
	quotas, err := core.ResourceQuotas(namespace).List(ctx, metav1.ListOptions{})
	add("quotas.yaml", quotas, err)
	return parts
}

// indent moves a text to the right.
func indent(text string) string {
	var out bytes.Buffer
	for line := range bytes.Lines([]byte(text)) {
		out.WriteString("  ")
		out.Write(line)
	}
	return out.String()
}
