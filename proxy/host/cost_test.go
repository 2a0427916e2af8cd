// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
)

// cannedHost answers every write of a pod with the same pod at the next
// revision, in protobuf and without reading the request, so that nearly all
// allocations of a write are the door's. Its watch has the events that a test
// gives it.
type cannedHost struct {
	pod    []byte // with firstRevision in it, once
	mu     sync.Mutex
	rv     int
	frames *io.PipeWriter
	stream *io.PipeReader
}

const firstRevision = 1_000_000_000 // all have as many digits

func newCannedHost(t *testing.T, pod *corev1.Pod) *cannedHost {
	t.Helper()
	h := &cannedHost{pod: encoded(t, pod), rv: firstRevision}
	if bytes.Count(h.pod, fmt.Append(nil, firstRevision)) != 1 {
		t.Fatal("the pod has its revision more than once")
	}
	h.stream, h.frames = io.Pipe()
	return h
}

func encoded(t *testing.T, obj runtime.Object) []byte {
	t.Helper()
	s := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	var out bytes.Buffer
	obj = obj.DeepCopyObject()
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	if err := s.Encode(obj, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// next is the pod at the next revision.
func (h *cannedHost) next() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rv++
	return h.at(h.rv)
}

func (h *cannedHost) at(rv int) []byte {
	return bytes.Replace(h.pod, fmt.Append(nil, firstRevision), fmt.Append(nil, rv), 1)
}

// event sends an event of the watch about the pod at a revision.
func (h *cannedHost) event(t *testing.T, kind string, pod []byte) {
	event := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: pod}}
	raw, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.frames.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)); err != nil {
		t.Fatal(err)
	}
}

// RoundTrip implements http.RoundTripper.
func (h *cannedHost) RoundTrip(r *http.Request) (*http.Response, error) {
	out := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {runtime.ContentTypeProtobuf}}, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if r.Method == http.MethodGet {
		out.Header = http.Header{"Content-Type": {runtime.ContentTypeProtobuf + ";stream=watch"}}
		out.Body = h.stream
		return out, nil
	}
	out.Body = io.NopCloser(bytes.NewReader(h.next()))
	return out, nil
}

// storage is that of pods in front of the host.
func (h *cannedHost) storage(t *testing.T, tr *rewrite.Translator) *host.Storage {
	t.Helper()
	client, err := kubernetes.NewForConfig(host.ClientConfig(&rest.Config{Host: "http://host.test", Transport: h}, nil))
	if err != nil {
		t.Fatal(err)
	}
	newFunc, newList := typesOf("pods")
	return host.NewStorage(host.Config{Client: client, Translator: tr, Scheme: scheme.Scheme}, corev1.Resource("pods"), "/pods", newFunc, newList)
}

// TestVerbsStayCheap: the door's processor time goes with allocations, and they
// are the same on every machine. The budgets have a tenth of room, so a second
// translation, or a second decoding, does not fit. A change that needs more
// raises them, and says why.
func TestVerbsStayCheap(t *testing.T) {
	tr := newTranslator(t)
	v := newPod("demo", "web")
	inHost, err := tr.ToHost(v, rewrite.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	pod := inHost.(*corev1.Pod)
	pod.UID, pod.ResourceVersion = "host-uid", fmt.Sprint(firstRevision)
	h := newCannedHost(t, pod)
	s := h.storage(t, tr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer h.frames.Close()
	w, err := s.Watch(ctx, "/pods", storage.ListOptions{ResourceVersion: "1", Recursive: true, Predicate: storage.Everything})
	if err != nil {
		t.Fatal(err)
	}
	create := func() {
		if err := s.Create(ctx, "/pods/demo/web", v, &corev1.Pod{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	touched := 0
	for _, c := range []struct {
		verb   string
		budget float64
		do     func()
	}{
		{"create", 560, create},
		{"update", 830, func() {
			touched++
			err := s.GuaranteedUpdate(ctx, "/pods/demo/web", &corev1.Pod{}, false, nil, storage.SimpleUpdate(func(in runtime.Object) (runtime.Object, error) {
				in.(*corev1.Pod).Labels["touched"] = fmt.Sprint(touched)
				return in, nil
			}), nil)
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"create, and its event", 625, func() {
			create()
			h.event(t, "MODIFIED", h.at(h.rv))
			<-w.ResultChan()
		}},
		{"event", 205, func() {
			h.event(t, "MODIFIED", h.next())
			<-w.ResultChan()
		}},
		{"create, delete, and its event", 1095, func() {
			create()
			if err := s.Delete(ctx, "/pods/demo/web", &corev1.Pod{}, nil, storage.ValidateAllObjectFunc, nil, storage.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			h.event(t, "DELETED", h.next())
			<-w.ResultChan()
		}},
	} {
		if got := testing.AllocsPerRun(100, c.do); got > c.budget || got < c.budget/2 {
			t.Errorf("%s: %v allocations, and the budget is %v", c.verb, got, c.budget)
		}
	}
}
