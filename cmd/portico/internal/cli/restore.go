// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/cmd/portico/internal/cluster"
	"portico.dev/portico/cmd/portico/internal/host"
	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/cmd/portico/internal/wait"
)

func (a *app) newRestore() *cobra.Command {
	timeout := defaultTimeout
	c := &cobra.Command{
		Use:   "restore NAME FILE",
		Short: "Replace the store of a virtual cluster with a snapshot",
		Long: `Replace the store of a virtual cluster, and its certificates and keys, with those
of a file of portico snapshot. FILE may be - for standard input.

The control plane ends, a pod with its volume replaces the data, and the control
plane starts again. The old data stay until the new ones are complete and
verified: a damaged file changes nothing. The cluster's pods run on meanwhile;
those whose owner is not in the snapshot are deleted when it serves again. A
cluster that is paused stays paused.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return output.Misuse(output.WithHint(fmt.Errorf("want NAME and FILE, got %d arguments", len(args)), "see %s --help", c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			h, found, err := a.find(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.restore(c.Context(), h, found, args[1], timeout)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", timeout, "how long to wait, each time")
	return c
}

func (a *app) restore(ctx context.Context, h *host.Host, c *cluster.Cluster, path string, limit time.Duration) error {
	if c.Kind == cluster.Deployment {
		return output.WithHint(fmt.Errorf("virtual cluster %s has a shared store, which portico does not restore", c.Name),
			"restore the etcd or the database with its own tools")
	}
	from := a.streams.In
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("restore a snapshot: %w", err)
		}
		defer file.Close()
		from = file
	}
	// Before anything is stopped: a cluster without a claim cannot be restored.
	pod, err := cluster.RestorePod(ctx, h.Client, c, dataDir, 3*limit)
	if err != nil {
		return err
	}
	paused := false
	err = a.within(ctx, limit, "the control plane of "+c.Name+" to end", func(ctx context.Context, report func(string)) (err error) {
		paused, err = cluster.BeginRestore(ctx, h.Client, c, report)
		return err
	})
	if err != nil {
		return err
	}
	failed := a.replaceData(ctx, h, pod, from, limit)
	if ctx.Err() != nil {
		return failed
	}
	// Also after a failure: the old data are in their place then.
	if err := cluster.EndRestore(ctx, h.Client, c, paused); err != nil || failed != nil {
		return errors.Join(failed, err)
	}
	if !paused {
		if err := a.serves(ctx, h, c.Namespace, c.Name, limit); err != nil {
			return err
		}
	}
	a.streams.Say("virtual cluster %s has the store of the snapshot", c.Name)
	return nil
}

// replaceData runs the pod, with a snapshot for its standard input, to its end. One
// of an earlier call, which was cut off, is removed first.
func (a *app) replaceData(ctx context.Context, h *host.Host, pod *corev1.Pod, from io.Reader, limit time.Duration) error {
	if err := a.removed(ctx, h, pod, limit); err != nil {
		return err
	}
	pods := h.Client.CoreV1().Pods(pod.Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	if err := a.podIs(ctx, h, pod, limit, "to run", corev1.PodRunning); err != nil {
		return errors.Join(err, a.removed(ctx, h, pod, limit))
	}
	count := &counter{from: from}
	sent := a.within(ctx, limit, "the pod "+pod.Name+" to restore the snapshot", func(ctx context.Context, report func(string)) error {
		count.report = report
		return a.feed(ctx, h, pod, count)
	})
	if ctx.Err() != nil {
		return sent // The pod ends without its input, and the next call removes it.
	}
	// Its own reason comes first: a stream ends when the pod does. One that
	// succeeded has read everything.
	err := a.podIs(ctx, h, pod, limit, "to end", corev1.PodSucceeded)
	if err != nil && sent != nil {
		err = fmt.Errorf("%w; the snapshot was not sent: %w", err, sent)
	}
	return errors.Join(err, a.removed(ctx, h, pod, limit))
}

// podIs waits until a pod has a phase. A pod that succeeded is always good enough;
// one that failed is an error with the reason that it gave.
func (a *app) podIs(ctx context.Context, h *host.Host, pod *corev1.Pod, limit time.Duration, what string, phase corev1.PodPhase) error {
	var now *corev1.Pod
	return wait.Until(ctx, wait.Options{
		For: "the pod " + pod.Name + " " + what, Limit: limit, Flag: "--timeout", Say: a.streams.Say,
		Why: func(context.Context) string {
			reason, _ := wait.Problem(now)
			return reason
		},
	}, func(ctx context.Context) (bool, error) {
		var err error
		if now, err = h.Client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			return false, fmt.Errorf("look at the pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
		if now.Status.Phase == corev1.PodFailed {
			return false, refusal(now)
		}
		return now.Status.Phase == phase || now.Status.Phase == corev1.PodSucceeded, nil
	})
}

// removed deletes a pod and waits until it is gone.
func (a *app) removed(ctx context.Context, h *host.Host, pod *corev1.Pod, limit time.Duration) error {
	return wait.Until(ctx, wait.Options{
		For: "the end of the pod " + pod.Name, Limit: limit, Flag: "--timeout", Say: a.streams.Say,
	}, func(ctx context.Context) (bool, error) { return cluster.RemovePod(ctx, h.Client, pod) })
}

// refusal is the error, and the hint, that porticod ended with in a pod.
func refusal(pod *corev1.Pod) error {
	text, hint := pod.Status.Message, ""
	for i := range pod.Status.ContainerStatuses {
		t := pod.Status.ContainerStatuses[i].State.Terminated
		if t == nil {
			continue
		}
		for line := range strings.Lines(t.Message) {
			line = strings.TrimSpace(line)
			if said, ok := strings.CutPrefix(line, "error: "); ok {
				text = said
			}
			if said, ok := strings.CutPrefix(line, "hint: "); ok {
				hint = said
			}
		}
	}
	if text == "" {
		text, _ = wait.Problem(pod)
	}
	err := fmt.Errorf("the pod %s/%s: %s", pod.Namespace, pod.Name, text)
	if hint == "" {
		return err
	}
	return output.WithHint(err, "%s", hint)
}

// counter reports how much was read.
type counter struct {
	from   io.Reader
	report func(string)
	read   int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.read += int64(n)
	c.report(fmt.Sprintf("%d KiB are sent", c.read>>10))
	return n, err
}
