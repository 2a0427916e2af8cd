// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubedns

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/internal/queue"
)

// fieldManager is who wrote our fields.
const fieldManager = "portico"

// Config is what a Keeper needs.
type Config struct {
	// Translator of the cluster, with DNS and DNSIP.
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory

	// Deployment is set when pods are the DNS. A Deployment that is left from
	// such a time is removed when it is nil.
	Deployment *Deployment
}

// Keeper keeps the objects of the cluster's DNS.
type Keeper struct {
	cfg    Config
	synced []cache.InformerSynced
	queue  *queue.Queue[part]
}

// part is what is looked after at once.
type part string

const (
	theService    part = "service"
	theDeployment part = "deployment"
)

// New returns a Keeper. It registers with the informers, so it must be called before these are started.
func New(cfg Config) (*Keeper, error) {
	k := &Keeper{cfg: cfg}
	k.queue = queue.New("kubedns", nil, k.reconcile)
	core := cfg.Informers.Core().V1()
	watched := []struct {
		informer cache.SharedIndexInformer
		name     string
		part     part
	}{
		{core.Services().Informer(), rewrite.DNSName, theService},
	}
	if cfg.Deployment != nil {
		watched = append(watched, []struct {
			informer cache.SharedIndexInformer
			name     string
			part     part
		}{
			{cfg.Informers.Apps().V1().Deployments().Informer(), deploymentName, theDeployment},
			{core.ConfigMaps().Informer(), deploymentName, theDeployment},
			{core.ServiceAccounts().Informer(), deploymentName, theDeployment},
		}...)
	}
	for _, w := range watched {
		handle, err := w.informer.AddEventHandler(k.handler(w.name, w.part))
		if err != nil {
			return nil, fmt.Errorf("listen to %s: %w", w.name, err)
		}
		k.synced = append(k.synced, handle.HasSynced)
	}
	return k, nil
}

// handler asks for a look when an object of ours has been changed or deleted. Changes of status only have no new generation.
func (k *Keeper) handler(name string, p part) cache.ResourceEventHandler {
	return cache.FilteringResourceEventHandler{
		FilterFunc: func(obj any) bool {
			key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
			return err == nil && key == rewrite.DNSNamespace+"/"+name
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { k.queue.Add(p) },
			UpdateFunc: func(before, after any) {
				b, ok := before.(metav1.Object)
				a, ok2 := after.(metav1.Object)
				if !ok || !ok2 || a.GetGeneration() == 0 || a.GetGeneration() != b.GetGeneration() {
					k.queue.Add(p)
				}
			},
			DeleteFunc: func(any) { k.queue.Add(p) },
		},
	}
}

// Run works until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	k.cfg.Informers.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), k.synced...) {
		return nil // ctx ended first
	}
	k.queue.Add(theService)
	k.queue.Add(theDeployment)
	k.queue.Run(ctx, 1)
	return nil
}

func (k *Keeper) reconcile(ctx context.Context, p part) (time.Duration, error) {
	if p == theDeployment {
		return 0, k.deployment(ctx)
	}
	return 0, k.service(ctx)
}

// service makes the Service anew when it is gone, or is at an address that no pod knows.
func (k *Keeper) service(ctx context.Context) error {
	services := k.cfg.Virtual.CoreV1().Services(rewrite.DNSNamespace)
	found, err := services.Get(ctx, rewrite.DNSName, metav1.GetOptions{})
	if err == nil {
		if found.DeletionTimestamp != nil || found.Spec.ClusterIP == k.cfg.Translator.Cluster().DNSIP {
			return nil
		}
		err = services.Delete(ctx, rewrite.DNSName, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(found.UID))})
		if err == nil {
			return errReplaced
		}
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	_, err = services.Create(ctx, k.cfg.Translator.DNSService(), metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil // an event will tell
	}
	return err
}

// errReplaced brings the Service back to the queue soon.
var errReplaced = fmt.Errorf("service %s/%s had another address and is made anew", rewrite.DNSNamespace, rewrite.DNSName)

// ours reports whether an object carries our label.
func ours(m metav1.Object) bool { return m.GetLabels()[labelManagedBy] == fieldManager }

const labelManagedBy = "app.kubernetes.io/managed-by"
