// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// hostNames are the names that a virtual object of this storage can have on the
// host. New ones have the first.
func (s *Storage) hostNames(k key) []string {
	return s.cfg.Translator.HostNames(s.kind.name, k.namespace, k.name)
}

// find asks the host for a virtual object. Another object under one of its names
// is not it.
func (s *Storage) find(ctx context.Context, k key, rv string) (runtime.Object, error) {
	return rewrite.Find(s.cfg.Translator, s.kind.name, k.namespace, k.name, func(hostName string) (runtime.Object, error) {
		return s.host.get(ctx, hostName, rv)
	})
}

// entry returns the remembered host object behind k.
func (s *Storage) entry(k key) (hostName string, e entry, found bool) {
	for _, hostName := range s.hostNames(k) {
		if e, ok := s.shown.get(hostName); ok && e.virtual.Namespace == k.namespace && e.virtual.Name == k.name {
			return hostName, e, true
		}
	}
	return "", entry{}, false
}

// forget drops the remembered state of an object that is not on the host.
func (s *Storage) forget(k key) {
	for _, hostName := range s.hostNames(k) {
		s.shown.removeIf(hostName, k.namespace, k.name)
	}
}

// superseded reports whether a host object has the former name of an object
// that is there under the name of today as well. Both can only be there if it
// was copied on the host; the one of today counts.
func (s *Storage) superseded(m metav1.Object, k key) bool {
	now := s.hostNames(k)[0]
	if m.GetName() == now {
		return false
	}
	_, both := s.shown.get(now)
	return both
}

// vacant refuses a new object that the host has under its former name. Under the
// name of today the host refuses it by itself.
func (s *Storage) vacant(ctx context.Context, k key) error {
	for _, hostName := range s.hostNames(k)[1:] {
		h, err := s.host.get(ctx, hostName, "")
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return s.interpret(ctx, err, k)
		}
		m, err := meta.Accessor(h)
		if err != nil {
			return err
		}
		if s.cfg.Translator.Is(m, s.kind.name, k.namespace, k.name) {
			return storage.NewKeyExistsError(k.path, 0)
		}
	}
	return nil
}

// claimLookups bounds the claims that are looked up at the same time for one
// object.
const claimLookups = 8

// claims looks for the claims that a new object names, in memory and then at the
// host, and returns those that have former names there. A claim that is not
// there may come later.
// A name that belongs to something else is refused: the object would get that.
func (s *Storage) claims(ctx context.Context, k key, versioned runtime.Object) ([]rewrite.Named, error) {
	refs := s.cfg.Translator.HostReferences(versioned)
	former := make([]bool, len(refs))
	var running errgroup.Group
	running.SetLimit(claimLookups)
	for i, ref := range refs {
		running.Go(func() error {
			found, err := s.claim(ctx, k, ref.Named)
			former[i] = found != "" && found != s.cfg.Translator.Name(k.namespace, ref.Name)
			return err
		})
	}
	// One Status: several cannot be joined into one answer.
	if err := running.Wait(); err != nil {
		return nil, err
	}
	var out []rewrite.Named
	for i, ref := range refs {
		if former[i] {
			out = append(out, rewrite.Named{Kind: ref.Field, Name: ref.Name})
		}
	}
	return out, nil
}

// claim returns the host name of a claim that is there, or "".
func (s *Storage) claim(ctx context.Context, k key, ref rewrite.Named) (string, error) {
	if len(content.IsPathSegmentName(ref.Name)) > 0 {
		return "", nil // no object can have this name
	}
	if hostName, ok := s.cfg.Memory.find(ref.Kind, k.namespace, ref.Name); ok {
		return hostName, nil
	}
	rv := ""
	if _, had := s.cfg.Translator.FormerName(k.namespace, ref.Name); !had {
		// Only an object of the operator's is looked for, and the host's cache will do.
		rv = "0"
	}
	found, err := rewrite.Find(s.cfg.Translator, ref.Kind, k.namespace, ref.Name, func(hostName string) (runtime.Object, error) {
		return newHostAPI(s.cfg, kindNamed(ref.Kind)).get(ctx, hostName, rv)
	})
	switch {
	case err == nil:
		m, err := meta.Accessor(found)
		if err != nil {
			return "", err
		}
		return m.GetName(), nil
	case apierrors.IsNotFound(err):
		return "", nil
	case errors.Is(err, rewrite.ErrForeign):
		klog.FromContext(ctx).Info("Object refers to a name that has something else on the host", "resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
		return "", apierrors.NewForbidden(s.resource, k.name, fmt.Errorf(
			"on the host of this cluster the name of the %s %q belongs to an object that is not of the cluster; use another name", ref.Kind, ref.Name))
	default:
		klog.FromContext(ctx).Error(err, "Claim of an object cannot be looked up", "virtualObject", k.ref(), "claim", ref.Name)
		return "", unavailable("the claims of the object cannot be looked up now")
	}
}

// findPod asks the host for the pod behind a virtual pod.
func findPod(ctx context.Context, cfg Config, namespace, name string) (metav1.Object, error) {
	pods := newHostAPI(cfg, kindNamed("Pod"))
	pod, err := rewrite.Find(cfg.Translator, "Pod", namespace, name, func(hostName string) (runtime.Object, error) {
		return pods.get(ctx, hostName, "")
	})
	if err != nil {
		return nil, err
	}
	return meta.Accessor(pod)
}
