// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/klog/v2"

	"portico.dev/portico/rewrite"
)

// retryAfterSeconds is the wait that a client is asked for when the host is
// away.
const retryAfterSeconds = 2

// unavailable returns a 503 with Retry-After.
func unavailable(format string, args ...any) *apierrors.StatusError {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusServiceUnavailable,
		Reason:  metav1.StatusReasonServiceUnavailable,
		Message: fmt.Sprintf(format, args...),
		Details: &metav1.StatusDetails{RetryAfterSeconds: retryAfterSeconds},
	}}
}

// interpret turns the error of a host call about k into one that a tenant may
// see: a storage error where the registry has its own words for the case, else
// the host's Status in virtual names. An error between the door and its host
// (no connection, no credentials, no rights) is for the operator, in the log;
// the tenant is asked to try again.
//
// Storage and Status errors must not be wrapped: upstream's type switches
// would not find them.
func (s *Storage) interpret(ctx context.Context, err error, k key) error {
	if err == nil {
		return nil
	}
	logger := klog.FromContext(ctx)
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		switch gone := ctx.Err(); {
		case gone == nil:
			logger.Info("Host call failed", "resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
			return unavailable("the host of this cluster cannot be reached, or did not answer in time")
		case errors.Is(gone, context.DeadlineExceeded):
			return apierrors.NewTimeoutError("the host of this cluster did not answer in time", retryAfterSeconds)
		default:
			return apierrors.NewTimeoutError("the request was cancelled", 0)
		}
	}

	st := status.Status()
	switch {
	case st.Reason == metav1.StatusReasonAlreadyExists:
		return storage.NewKeyExistsError(k.path, 0)
	case st.Code == http.StatusNotFound && st.Details != nil && slices.Contains(s.hostNames(k), st.Details.Name):
		return storage.NewKeyNotFoundError(k.path, 0)
	case st.Code == http.StatusNotFound:
		// The namespace, or a whole resource: not the object of the request.
		logger.Info("Host lacks a resource or namespace that the door needs", "resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
		return unavailable("the host of this cluster is not able to serve %s", s.kind.resource)
	case st.Code == http.StatusUnauthorized, isDoorForbidden(st):
		logger.Error(err, "Host refused the door itself", "resource", s.kind.resource, "virtualObject", k.ref())
		return unavailable("the host of this cluster does not let it serve this request for %s", s.kind.resource)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// The tenant's namespace is well: its controllers must not take this
		// for its end and give up.
		logger.Info("Host namespace is being deleted", "resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
		return unavailable("the host of this cluster takes no new %s: it is being removed", s.kind.resource)
	case st.Code == http.StatusForbidden && strings.Contains(st.Message, "error looking up service account "+s.host.namespace+"/"):
		logger.Error(err, "Host lacks the service account that pods run as", "virtualObject", k.ref())
		return unavailable("the host of this cluster is not able to run pods now")
	case st.Reason == metav1.StatusReasonInternalError:
		logger.Error(err, "Host failed", "resource", s.kind.resource, "virtualObject", k.ref())
		if !exhausted.MatchString(st.Message) {
			return internal(st.Message)
		}
	case st.Code == http.StatusServiceUnavailable, st.Code == http.StatusBadGateway, st.Code == http.StatusGatewayTimeout:
		logger.Info("Host call failed", "resource", s.kind.resource, "virtualObject", k.ref(), "err", err)
		return unavailable("the host of this cluster is not able to serve requests now")
	}
	return &apierrors.StatusError{ErrStatus: s.cfg.Translator.StatusAbout(st, k.host, s.known(k))}
}

// internal is an internal error of the host as a tenant may see it: with the
// name of the webhook that failed, and without addresses of the host.
func internal(message string) *apierrors.StatusError {
	if m := failedWebhook.FindStringSubmatch(message); m != nil {
		return apierrors.NewInternalError(fmt.Errorf("the host of this cluster failed calling webhook %q", m[1]))
	}
	return apierrors.NewInternalError(errors.New("the host of this cluster failed to serve the request"))
}

// exhausted matches the internal errors of a host that has run out of
// something, which every user may read.
var exhausted = regexp.MustCompile(`^Internal error occurred: (failed to allocate a (serviceIP for Service "[^"]*"|nodePort): range is full|resource quota evaluation timed out)$`)

// failedWebhook matches the words of k8s.io/apiserver/pkg/util/webhook.
var failedWebhook = regexp.MustCompile(`^Internal error occurred: failed calling webhook "([^"]+)"`)

// known returns the host names that an answer about k may mention.
func (s *Storage) known(k key) map[string]rewrite.VirtualRef {
	known := map[string]rewrite.VirtualRef{}
	if a, ok := k.host.(metav1.ObjectMetaAccessor); ok {
		if m, ok := a.GetObjectMeta().(*metav1.ObjectMeta); ok {
			known = s.cfg.Translator.Known(s.kind.name, m)
		}
	}
	if k.name != "" {
		for _, hostName := range s.hostNames(k) {
			known[hostName] = rewrite.VirtualRef{Namespace: k.namespace, Name: k.name}
		}
	}
	return known
}

// isDoorForbidden distinguishes the host's RBAC, whose errors name the door's
// own user, from its admission, whose errors name the object.
func isDoorForbidden(st metav1.Status) bool {
	return st.Code == http.StatusForbidden && strings.Contains(st.Message, `is forbidden: User "`)
}
