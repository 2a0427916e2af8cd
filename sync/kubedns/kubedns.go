// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package kubedns

import (
	"context"
	"errors"
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

// fieldManager owns the fields that are written here.
const fieldManager = "portico"

// Config says which DNS the cluster has, and where its objects are kept.
type Config struct {
	// Translator of the cluster, with DNS and DNSIP.
	Translator *rewrite.Translator
	Virtual    kubernetes.Interface
	Informers  informers.SharedInformerFactory

	// Deployment is set when pods are the DNS. A Deployment that is left from
	// such a time is removed when it is nil.
	Deployment *Deployment
}

// Controller keeps the objects of the cluster's DNS.
type Controller struct {
	cfg  Config
	loop *queue.Loop[part]
}

// part is a group of objects that are looked after together.
type part string

const (
	theService    part = "service"
	theDeployment part = "deployment"
)

// New returns a Controller. It registers with the informers, so it must be
// called before these are started.
func New(cfg Config) (*Controller, error) {
	c := &Controller{cfg: cfg}
	c.loop = queue.NewLoop("kubedns", nil, c.reconcile)
	core := cfg.Informers.Core().V1()
	err := c.listen(core.Services().Informer(), rewrite.DNSName, theService)
	if cfg.Deployment == nil {
		return c, err
	}
	return c, errors.Join(err,
		c.listen(cfg.Informers.Apps().V1().Deployments().Informer(), deploymentName, theDeployment),
		c.listen(core.ConfigMaps().Informer(), deploymentName, theDeployment),
		c.listen(core.ServiceAccounts().Informer(), deploymentName, theDeployment),
	)
}

// listen asks for a look when an object of ours has been changed or deleted.
// Changes of status alone leave the generation as it is.
func (c *Controller) listen(informer cache.SharedIndexInformer, name string, p part) error {
	look := func(obj metav1.Object) {
		if obj.GetNamespace() == rewrite.DNSNamespace && obj.GetName() == name {
			c.loop.Add(p)
		}
	}
	return queue.Listen(c.loop, name, informer, queue.On[metav1.Object]{
		Added: look,
		Changed: func(before, after metav1.Object) {
			if after.GetGeneration() == 0 || after.GetGeneration() != before.GetGeneration() {
				look(after)
			}
		},
		Deleted: look,
	})
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.loop.Add(theService)
	c.loop.Add(theDeployment)
	return c.loop.Run(ctx, 1, c.cfg.Informers)
}

func (c *Controller) reconcile(ctx context.Context, p part) (time.Duration, error) {
	if p == theDeployment {
		return 0, c.deployment(ctx)
	}
	return 0, c.service(ctx)
}

// service creates the Service again when it is gone, or is at an address that
// no pod knows.
func (c *Controller) service(ctx context.Context) error {
	services := c.cfg.Virtual.CoreV1().Services(rewrite.DNSNamespace)
	found, err := services.Get(ctx, rewrite.DNSName, metav1.GetOptions{})
	if err == nil {
		if found.DeletionTimestamp != nil || found.Spec.ClusterIP == c.cfg.Translator.Cluster().DNSIP {
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
	_, err = services.Create(ctx, c.cfg.Translator.DNSService(), metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return nil // its event brings it here again
	}
	return err
}

// errReplaced brings the Service back to the queue soon.
var errReplaced = fmt.Errorf("service %s/%s had another address and is created again", rewrite.DNSNamespace, rewrite.DNSName)

// ours reports whether an object carries our label.
func ours(m metav1.Object) bool { return m.GetLabels()[labelManagedBy] == fieldManager }

const labelManagedBy = "app.kubernetes.io/managed-by"
