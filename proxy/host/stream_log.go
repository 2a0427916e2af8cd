// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
)

// logStream streams a pod's log from the host. It is upstream's streamer, but
// for the errors: those of a transport have the host's URL in them.
type logStream struct {
	*genericrest.LocationStreamer
	target target
}

func (s *Streams) newLog(t target, opts *corev1.PodLogOptions) (*logStream, error) {
	opts = opts.DeepCopy()
	// Whether the host trusts its nodes is not the tenant's to say.
	opts.InsecureSkipTLSVerifyBackend = false
	query, err := scheme.ParameterCodec.EncodeParameters(opts, corev1.SchemeGroupVersion)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	location, err := s.hostURL(t)
	if err != nil {
		return nil, err
	}
	location.RawQuery = query.Encode()
	return &logStream{target: t, LocationStreamer: &genericrest.LocationStreamer{
		Location:        location,
		Transport:       s.plain,
		ContentType:     "text/plain",
		Flush:           opts.Follow,
		ResponseChecker: logChecker{s, t},
		RedirectChecker: genericrest.PreventRedirects,
	}}, nil
}

// InputStream implements rest.ResourceStreamer.
func (l *logStream) InputStream(ctx context.Context, apiVersion, accept string) (io.ReadCloser, bool, string, error) {
	stream, flush, contentType, err := l.LocationStreamer.InputStream(ctx, apiVersion, accept)
	var status *apierrors.StatusError
	switch {
	case err == nil:
	case errors.As(err, &status):
		err = status // without its wrapper, which upstream does not look into
	default:
		klog.FromContext(ctx).Info("Host log stream failed", "virtualObject", klog.KRef(l.target.namespace, l.target.name), "err", err)
		err = unavailable("the host of this cluster cannot be reached for pods/log")
	}
	return stream, flush, contentType, err
}

// logChecker turns a host's answer that is no log into an error in virtual
// names.
type logChecker struct {
	streams *Streams
	target  target
}

// Check implements genericrest.HttpResponseChecker.
func (c logChecker) Check(resp *http.Response) error {
	if resp.StatusCode >= http.StatusOK && resp.StatusCode <= http.StatusPartialContent {
		return nil
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is shown
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return unavailable("the host of this cluster did not finish its answer for pods/log")
	}
	if st, ok := statusIn(body); ok {
		return &apierrors.StatusError{ErrStatus: *c.streams.status(st, c.target)}
	}
	text := c.streams.cfg.Translator.TextToVirtual(string(body), c.target.known())
	if resp.StatusCode == http.StatusBadRequest {
		return apierrors.NewBadRequest(text)
	}
	return apierrors.NewGenericServerResponse(resp.StatusCode, "", schema.GroupResource{Resource: "pods/log"}, c.target.name, text, 0, false)
}
