// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"

	"portico.dev/portico/proxy/fairshare"
	"portico.dev/portico/proxy/hooks"
	"portico.dev/portico/rewrite"
)

const (
	// defaultStaleBound is how long a cache may be without its host watch
	// before a read that asks for the latest state is refused.
	defaultStaleBound = 30 * time.Second

	// defaultCallTimeout bounds one host call that is not a stream. It leaves
	// room for the host's admission webhooks, whose own default is 10 s.
	defaultCallTimeout = 15 * time.Second
)

// Config is shared by the storages and streams of one virtual cluster.
type Config struct {
	// Client talks to the host cluster. A limit on its rate must be one that
	// shares the rate among the clients of the virtual cluster (package
	// fairshare): one door serves all of them. See ClientConfig.
	Client kubernetes.Interface

	// REST is the same host as Client, for the streams, which need the
	// credentials and the TLS settings rather than a client.
	REST *rest.Config

	// Streams bounds the streams that are open at a time. Nil means no bound.
	Streams *fairshare.Streams

	// Translator belongs to the virtual cluster.
	Translator *rewrite.Translator

	// Scheme converts between the version that the host speaks (v1) and the one
	// that the generic registry stores, and knows the defaults of v1.
	Scheme *runtime.Scheme

	// Inputs returns the facts that a translation needs besides the object. Nil
	// means none.
	Inputs InputsFunc

	// Referents brings the objects that a pod refers to onto the host ahead of
	// it. Nil means that another part does, later.
	Referents Referents

	// Hooks are shown objects before the host gets them, and on their way back. Nil
	// means none.
	Hooks *hooks.Hooks

	// Events records facts about an object that a tenant should know and that
	// have no other place. Nil drops them.
	Events EventSink

	// NodeTakesPods says whether a tenant may put pods on the host node of that
	// name, by spec.nodeName or a binding. It is true of nodes that the virtual
	// cluster shows only, and is not answered from virtual Nodes, which a tenant
	// can make under any name. Nil means on none.
	NodeTakesPods func(name string) bool

	// ReadNodes says that Client may get the nodes of the host. Then such a pod
	// is held to the node's taints and to the labels that are enforced. Without
	// that right, a pod of this cluster on the node, which got there by the
	// host's scheduler, has to be evidence enough.
	ReadNodes bool

	// HostClasses returns the classes of a new pod that are the host's. Virtual
	// classes are no proof, because a tenant can make them under any name. It
	// returns rewrite.ErrNoClass for a pod that names a class which is about to
	// go, and any other error when it cannot find out. Nil means none.
	HostClasses func(ctx context.Context, pod *corev1.Pod) (rewrite.HostClasses, error)

	// DeviceClasses returns those of the device classes of these names that are
	// the host's and shown, or an error when it cannot find out. A virtual
	// class proves nothing here either. Nil means none.
	DeviceClasses func(ctx context.Context, names []string) ([]string, error)

	// PushedStorage reports whether the host knows a claim's storage class under
	// the name of this cluster's copy (rewrite.Inputs.PushedStorage). It returns
	// rewrite.ErrNoClass for a class that the host gets no copy of, and any other
	// error when it cannot find out. Nil means never.
	PushedStorage func(ctx context.Context, class string) (bool, error)

	// MayHaveStorage reports whether a claim may name a storage class. The class
	// that counts is the host's; a virtual one proves nothing. Nil means any class.
	MayHaveStorage func(ctx context.Context, class string) (bool, error)

	// AllowBinding lets a scheduler inside assign pods to nodes on which
	// NodeTakesPods.
	AllowBinding bool

	// Fits returns why a pod has no room on a node, both as the host has them,
	// in words for the tenant. It is asked about bindings, because the host
	// does not check them. Nil means that there is room. It needs ReadNodes.
	Fits func(node *corev1.Node, pod *corev1.Pod) error

	// Memory is shared by the storages, so that one finds in another the objects
	// that its own refer to. Nil means that the host is asked for each.
	Memory *Memory

	// Strict asks the host for every read that wants the latest state, for
	// more than one replica of the door (D4 in docs/decisions.md).
	Strict bool

	// StaleBound and CallTimeout have defaults when zero.
	StaleBound  time.Duration
	CallTimeout time.Duration

	// Clock is the real one when nil.
	Clock clock.WithTicker
}

// InputsFunc returns the inputs of the translation of v, a versioned virtual
// object.
type InputsFunc func(ctx context.Context, v runtime.Object) rewrite.Inputs

// Referents makes sure that the Secrets and ConfigMaps which a pod of a virtual
// namespace names are on the host, and so is all else that each pod there reads.
// A reference to something that does not exist is no error: a pod may wait for
// its Secret.
//
// If there is no error, the object is sent to the host next, and settle called
// with whether the host refused it. Copies that are on the host for refused
// objects only must go again.
type Referents interface {
	Ensure(ctx context.Context, namespace string, refs []rewrite.Reference) (settle func(refused bool), err error)
}

// EventSink records a Kubernetes Event about a virtual object. An
// events recorder of client-go is one.
type EventSink interface {
	Event(object runtime.Object, eventtype, reason, message string)
}

// complete returns c with every default filled in.
func (c Config) complete() Config {
	if c.Inputs == nil {
		c.Inputs = func(context.Context, runtime.Object) rewrite.Inputs { return rewrite.Inputs{} }
	}
	if c.StaleBound <= 0 {
		c.StaleBound = defaultStaleBound
	}
	if c.CallTimeout <= 0 {
		c.CallTimeout = defaultCallTimeout
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return c
}

// ClientConfig returns c as the door uses it for its host: protobuf, which is
// several times cheaper than JSON for pods, and limiter for the rate; nil means
// no limit but that of the host, which refuses requests above its capacity by
// priority and fairness. Its warnings go to the tenant.
func ClientConfig(c *rest.Config, limiter flowcontrol.RateLimiter) *rest.Config {
	c = rest.CopyConfig(c)
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.QPS, c.Burst = -1, -1
	c.RateLimiter = limiter
	c.WarningHandler, c.WarningHandlerWithContext = nil, warnings{}
	c.Wrap(namesCaller)
	return c
}
