// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package authorities

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// name is that of the ConfigMap, and clientCA its key with the list.
	name     = "extension-apiserver-authentication"
	clientCA = "client-ca-file"

	// interval is how often the list is looked at, as often as API servers do.
	interval = time.Minute
	// retry is how soon a failure is tried again.
	retry = time.Second
)

// Config names the authorities to take from the list, and the client that does
// it.
type Config struct {
	Virtual kubernetes.Interface

	// Keep returns a list of certificates without those of revoked authorities,
	// and a channel that is closed when others are revoked.
	Keep func(list []byte) (kept []byte, changed <-chan struct{})

	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// Run works until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	for {
		_, changed := cfg.Keep(nil)
		wait := interval
		if err := cfg.prune(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Aggregated API servers may accept revoked certificates")
			wait = retry
		}
		timer := cfg.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-changed:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

func (c *Config) prune(ctx context.Context) error {
	all := c.Virtual.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	found, err := all.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // the API server has not made it yet
	}
	if err != nil {
		return err
	}
	kept, _ := c.Keep([]byte(found.Data[clientCA]))
	if string(kept) == found.Data[clientCA] {
		return nil
	}
	found = found.DeepCopy()
	found.Data[clientCA] = string(kept)
	if _, err := all.Update(ctx, found, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("ConfigMap %s/%s: %w", found.Namespace, name, err)
	}
	klog.FromContext(ctx).Info("Aggregated API servers accept revoked authorities no longer", "virtualObject", klog.KObj(found))
	return nil
}
