// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// pollInterval is how often a file that is to appear, and a server that is to
// answer, are looked at. It bounds the resolution of a start-up measurement.
const pollInterval = 5 * time.Millisecond

// AwaitCluster waits for the kubeconfig that the child writes once it is ready
// and for the cluster's own readiness, and returns the way to it. A file left
// over by an earlier run must have been removed before the child was started.
func (p *Process) AwaitCluster(ctx context.Context, kubeconfig string) (*rest.Config, error) {
	if err := p.poll(ctx, "write "+kubeconfig, func(context.Context) (bool, error) {
		_, err := os.Stat(kubeconfig)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		return nil, err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, p.fail(fmt.Errorf("read its kubeconfig: %w", err))
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, p.fail(fmt.Errorf("use its kubeconfig: %w", err))
	}
	if err := p.poll(ctx, "answer /readyz", func(ctx context.Context) (bool, error) {
		err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		return err == nil, nil // not ready, or not listening: both pass with time
	}); err != nil {
		return nil, err
	}
	return cfg, nil
}

// poll calls done until it is, the child ends, or ctx does.
func (p *Process) poll(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		ok, err := done(ctx)
		if err != nil {
			return p.fail(fmt.Errorf("wait for it to %s: %w", what, err))
		}
		if ok {
			return nil
		}
		select {
		case <-p.ended:
			return p.Err()
		case <-ctx.Done():
			return p.fail(fmt.Errorf("did not %s: %w", what, context.Cause(ctx)))
		case <-ticker.C:
		}
	}
}
