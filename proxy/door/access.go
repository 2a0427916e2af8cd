// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package door

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"portico.dev/portico/certs"
	"portico.dev/portico/rewrite"
)

// composedAccess is the purpose of the Secret with the kubeconfig.
const composedAccess = "access"

// The keys of the Secret with the administrator's kubeconfig.
const (
	AccessConfig      = "config"
	AccessAuthority   = "certificate-authority"
	AccessCertificate = "client-certificate"
	AccessKey         = "client-key"
)

const (
	// accessInterval is how often the kubeconfig on the host is looked at, for one
	// that another replica wrote and that is due.
	accessInterval = time.Hour
	// foreignInterval is how often a Secret of another owner is looked at.
	foreignInterval = time.Minute
)

// Held are the keys that a porticod uses.
type Held interface {
	// Credentials returns those that are in use.
	Credentials() certs.Credentials
	// Current returns the certificates, and a channel that is closed when the
	// administrator's is another one.
	Current() (*certs.Bundle, <-chan struct{})
}

// Keys are the two Secrets of a cluster that change: its credentials, which every
// replica follows, and the administrator's kubeconfig, for programs on the host.
// The leader writes both and puts them back.
type Keys struct {
	translator *rewrite.Translator
	server     string
	clock      clock.WithTicker
	view       informers.SharedInformerFactory
	secrets    corelisters.SecretLister
	synced     cache.InformerSynced
	wake       chan struct{}
	seen       atomic.Pointer[certs.Credentials]
	changed    func()
}

// NewKeys returns the Secrets of a cluster whose credentials were these when they
// were read. The kubeconfig leads to server, a URL. Each change on the host is
// reported to changed. A nil clock is the real one.
func NewKeys(client kubernetes.Interface, t *rewrite.Translator, first certs.Credentials, server string, c clock.WithTicker) (*Keys, error) {
	if c == nil {
		c = clock.RealClock{}
	}
	purposes, err := labels.NewRequirement(rewrite.LabelComposed, selection.In, []string{composedCredentials, composedAccess})
	if err != nil {
		return nil, err
	}
	selector := labels.SelectorFromSet(labels.Set{rewrite.LabelCluster: t.Cluster().Name}).Add(*purposes)
	view := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(t.Cluster().HostNamespace),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = selector.String() }))
	secrets := view.Core().V1().Secrets()
	k := &Keys{translator: t, server: server, clock: c, view: view, secrets: secrets.Lister(), wake: make(chan struct{}, 1)}
	k.seen.Store(&first)
	see := func(obj any) {
		if s, ok := obj.(*corev1.Secret); ok && s.Name == t.CredentialsSecretName() {
			data := certs.Credentials(s.Data)
			k.seen.Store(&data)
			if k.changed != nil {
				k.changed()
			}
		}
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
	// A deletion brings the last state, or none: then there is nothing to see.
	registration, err := secrets.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: see, UpdateFunc: func(_, obj any) { see(obj) }, DeleteFunc: see,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the cluster's keys: %w", err)
	}
	k.synced = registration.HasSynced
	return k, nil
}

// OnChange has changed called whenever the host has other credentials. It comes
// before Observe.
func (k *Keys) OnChange(changed func()) { k.changed = changed }

// Credentials returns those that the host had last.
func (k *Keys) Credentials() certs.Credentials { return *k.seen.Load() }

// Observe keeps the view of the Secrets until ctx ends.
func (k *Keys) Observe(ctx context.Context) error {
	k.view.Start(ctx.Done())
	defer k.view.Shutdown()
	<-ctx.Done()
	return nil
}

// Run keeps both Secrets until ctx ends. It is the leader's; client makes its
// changes.
func (k *Keys) Run(ctx context.Context, client kubernetes.Interface, held Held) error {
	if !cache.WaitForCacheSync(ctx.Done(), k.synced) {
		return nil
	}
	for {
		b, changed := held.Current()
		wait := accessInterval
		if err := errors.Join(k.keepCredentials(ctx, client, held.Credentials()), k.keepAccess(ctx, client, b)); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Keys on the host are not as they should be")
			wait = keepRetry
			if errors.Is(err, ErrNotOurs) {
				wait = foreignInterval
			}
		}
		timer := k.clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-k.wake:
		case <-changed:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// keepCredentials puts the credentials that are in use back, where the host has
// none or some of before a rotation.
func (k *Keys) keepCredentials(ctx context.Context, client kubernetes.Interface, inUse certs.Credentials) error {
	return k.keep(ctx, client, secretOf(k.translator, k.translator.CredentialsSecretName(), composedCredentials, inUse),
		func(found map[string][]byte) (map[string][]byte, error) {
			if of := certs.Credentials(found); of.Validate() == nil && of.Generation() >= inUse.Generation() {
				return found, nil
			}
			return inUse, nil
		})
}

// keepAccess writes the kubeconfig. A certificate that another replica wrote is
// as good as ours, as long as it is valid.
func (k *Keys) keepAccess(ctx context.Context, client kubernetes.Interface, b *certs.Bundle) error {
	return k.keep(ctx, client, secretOf(k.translator, k.translator.AccessSecretName(), composedAccess, nil),
		func(found map[string][]byte) (map[string][]byte, error) {
			admin := certs.KeyPair{CertPEM: found[AccessCertificate], KeyPEM: found[AccessKey]}
			if !b.Administers(admin) {
				admin = b.Admin
			}
			config, err := certs.Kubeconfig(k.translator.Cluster().Name, k.server, b.CAPEM, admin)
			if err != nil {
				return nil, err
			}
			return map[string][]byte{
				AccessConfig: config, AccessAuthority: b.CAPEM, AccessCertificate: admin.CertPEM, AccessKey: admin.KeyPEM,
			}, nil
		})
}

// keep creates or corrects a Secret; data returns its content, given the
// present one.
func (k *Keys) keep(ctx context.Context, client kubernetes.Interface, want *corev1.Secret, data func(found map[string][]byte) (map[string][]byte, error)) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("host Secret %s/%s: %w", want.Namespace, want.Name, err)
		}
	}()
	secrets := client.CoreV1().Secrets(want.Namespace)
	found, err := k.secrets.Secrets(want.Namespace).Get(want.Name)
	if apierrors.IsNotFound(err) {
		if want.Data, err = data(nil); err != nil {
			return err
		}
		_, err = secrets.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		// The view is behind, or another owner has the name.
		found, err = secrets.Get(ctx, want.Name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	if !marked(k.translator.Cluster().Name, found, want.Labels[rewrite.LabelComposed]) {
		return ErrNotOurs
	}
	updated := found.DeepCopy()
	if updated.Data, err = data(found.Data); err != nil {
		return err
	}
	if owners, change := k.translator.OwnerChanges(found.OwnerReferences); change {
		updated.OwnerReferences = owners
	}
	if apiequality.Semantic.DeepEqual(found, updated) {
		return nil
	}
	_, err = secrets.Update(ctx, updated, metav1.UpdateOptions{FieldManager: fieldManager})
	return err
}
