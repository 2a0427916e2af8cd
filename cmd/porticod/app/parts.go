// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/version"

	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/apiserver"
	"portico.dev/portico/proxy/dns"
	"portico.dev/portico/proxy/fairshare"
	"portico.dev/portico/proxy/host"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/certificates"
	"portico.dev/portico/sync/classes"
	"portico.dev/portico/sync/endpoints"
	"portico.dev/portico/sync/events"
	"portico.dev/portico/sync/kubedns"
	"portico.dev/portico/sync/nodes"
	"portico.dev/portico/sync/nslabels"
	"portico.dev/portico/sync/occupancy"
	"portico.dev/portico/sync/push"
	"portico.dev/portico/sync/tokens"
	"portico.dev/portico/sync/trust"
	"portico.dev/portico/sync/variables"
	"portico.dev/portico/sync/volumes"
)

// composition is everything that the parts of one virtual cluster are made
// from, and the values that they leave for the storages of the API server.
type composition struct {
	*virtualCluster
	virtual kubernetes.Interface // of the loopback
	lead    leaderClients
	shared  informers.SharedInformerFactory
	report  *reporter
	room    *occupancy.Room            // nil unless a scheduler runs inside
	due     []func() (time.Time, bool) // when parts have work that cannot wait

	// hostClasses is made by the part of the classes, for those that come after.
	hostClasses *classes.Mirror

	// usedByCustom are asked for the Secrets and ConfigMaps that custom kinds name;
	// pusher, which the part of the referents makes, brings them.
	usedByCustom []func(kind, namespace, name string) bool
	pusher       *push.Controller

	// storage is completed by the parts.
	storage apiserver.Host
}

// parts lists all parts of a virtual cluster. Constructors run in this order,
// before the shared informers start; a part that the configuration leaves out is
// the zero part. The order decides nothing but who may read composition.storage:
// a part that wraps a function of another comes after it. Package rights has
// the host rights that each feature needs.
var parts = []struct {
	name string
	make func(*composition) (part, error)
}{
	{"doors", (*composition).doorsPart},
	{"entrance", (*composition).entrancePart},
	{"keys", (*composition).keysPart},
	{"authorities", (*composition).authoritiesPart},
	{"etcd", (*composition).etcdPart},
	{"reporter", (*composition).reporterPart},
	{"custom kinds", (*composition).customPart},
	{"referents", (*composition).referentsPart},
	{"service variables", (*composition).variablesPart},
	{"tokens", (*composition).tokensPart},
	{"certificates", (*composition).certificatesPart},
	{"trust bundles", (*composition).trustPart},
	{"endpoints", (*composition).endpointsPart},
	{"mapped services", (*composition).mapServicesPart},
	{"imported objects", (*composition).importsPart},
	{"network policies", (*composition).networkPoliciesPart},
	{"budgets", (*composition).budgetsPart},
	{"ingresses", (*composition).ingressesPart},
	{"copies of before", (*composition).leftoversPart},
	{"namespace labels", (*composition).namespaceLabelsPart},
	{"events", (*composition).eventsPart},
	{"scheduler", (*composition).schedulerPart},
	{"nodes", (*composition).nodesPart},
	{"volumes", (*composition).volumesPart},
	{"own volumes", (*composition).ownVolumesPart},
	{"classes", (*composition).classesPart},
	{"priority classes", (*composition).priorityClassesPart},
	{"storage classes", (*composition).storageClassesPart},
	{"kube-dns", (*composition).kubeDNSPart},
	{"DNS", (*composition).dnsPart},
	{"metrics", (*composition).measurementsPart},
	{"conditions", (*composition).conditionsPart},
	{"gateway names", (*composition).gatewayPart},
	{"sleep", (*composition).sleepPart},
}

// describeHost is called while the API server is composed, and makes the parts
// that work between the two clusters: they must have registered with the shared
// informers before these start.
func (vc *virtualCluster) describeHost(loopback *rest.Config, shared informers.SharedInformerFactory) (apiserver.Host, error) {
	virtual, err := kubernetes.NewForConfig(loopback)
	if err != nil {
		return apiserver.Host{}, err
	}
	lead, err := vc.compete(loopback, virtual)
	if err != nil {
		return apiserver.Host{}, err
	}
	c := &composition{virtualCluster: vc, virtual: virtual, lead: lead, shared: shared, report: newReporter(virtual)}
	c.storage.Config = host.Config{
		Client:     vc.hostClient,
		REST:       vc.hostConfig,
		Streams:    fairshare.NewStreams(vc.config.Host.MaxStreams, vc.hostConfig.RateLimiter),
		Translator: vc.translator,
		Memory:     host.NewMemory(),
		Hooks:      vc.hooks,
		Events:     c.report,
		Strict:     vc.config.Reads == config.ReadsStrict,
	}
	c.storage.ResourceMetrics = vc.servesMetrics()
	c.storage.Undone = undoneWrites(vc.config)
	c.storage.NodeProxy = vc.config.Sync.Nodes.Proxy
	for _, p := range parts {
		made, err := p.make(c)
		if err != nil {
			return apiserver.Host{}, fmt.Errorf("%s: %w", p.name, err)
		}
		made.name = p.name
		vc.work.parts = append(vc.work.parts, made)
	}
	return c.storage, nil
}

// doorsPart keeps this replica's door open, and closes those of dead ones.
func (c *composition) doorsPart() (part, error) {
	return part{
		always:  c.virtualCluster.doors.Observe,
		leading: func(ctx context.Context) error { return c.checkDoors(ctx, c.lead.host) },
	}, nil
}

// entrancePart keeps the Service that leads to the doors, and the owner of
// everything on the host.
func (c *composition) entrancePart() (part, error) {
	return part{
		always:  c.keeper.Observe,
		leading: func(ctx context.Context) error { return c.keeper.Run(ctx, c.lead.host, c.lead.hostMetadata) },
	}, nil
}

// reporterPart writes Events about objects of the virtual cluster.
func (c *composition) reporterPart() (part, error) { return part{always: c.report.Run}, nil }

// referentsPart brings Secrets and ConfigMaps to the host before the pods that
// name them, which every replica does, and keeps them in step.
func (c *composition) referentsPart() (part, error) {
	pusher, err := push.New(push.Config{
		Translator: c.translator, Virtual: c.virtual, Informers: c.shared, Host: c.hostClient, Leader: c.lead.host, Ingresses: c.ingressesOnHost(),
		Uses: c.customUses,
	})
	if err != nil {
		return part{}, err
	}
	c.pusher, c.storage.Referents = pusher, pusher
	return part{always: pusher.Observe, leading: pusher.Run}, nil
}

// variablesPart keeps the variables by which containers find Services, and brings
// them to the host before the pods that read them.
func (c *composition) variablesPart() (part, error) {
	keeper, err := variables.New(variables.Config{Translator: c.translator, Virtual: c.virtual, Informers: c.shared, Host: c.hostClient, Leader: c.lead.host})
	if err != nil {
		return part{}, err
	}
	c.storage.Referents = referents{variables: keeper, named: c.storage.Referents}
	return part{always: keeper.Observe, leading: keeper.Run}, nil
}

func (c *composition) tokensPart() (part, error) {
	m, err := tokens.New(tokens.Config{Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host})
	if err != nil {
		return part{}, err
	}
	c.due = append(c.due, m.Due)
	return part{leading: m.Run}, nil
}

func (c *composition) certificatesPart() (part, error) {
	m, err := certificates.New(certificates.Config{
		Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host, Events: c.report,
	})
	if err != nil {
		return part{}, err
	}
	c.due = append(c.due, m.Due)
	return part{leading: m.Run}, nil
}

func (c *composition) trustPart() (part, error) {
	m, err := trust.New(trust.Config{Translator: c.translator, Informers: c.shared, Host: c.lead.host})
	if err != nil {
		return part{}, err
	}
	return part{leading: m.Run}, nil
}

func (c *composition) endpointsPart() (part, error) {
	s, err := endpoints.New(endpoints.Config{Translator: c.translator, Informers: c.shared, Host: c.lead.host})
	if err != nil {
		return part{}, err
	}
	return part{leading: s.Run}, nil
}

func (c *composition) namespaceLabelsPart() (part, error) {
	l, err := nslabels.New(nslabels.Config{Translator: c.translator, Informers: c.shared, Host: c.lead.hostMetadata})
	if err != nil {
		return part{}, err
	}
	return part{leading: l.Run}, nil
}

func (c *composition) eventsPart() (part, error) {
	e, err := events.New(events.Config{Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host})
	if err != nil {
		return part{}, err
	}
	return part{leading: e.Run}, nil
}

// schedulerPart lets schedulers inside place pods, and knows the room that is left
// for them. The cluster's own scheduler runs with the controllers.
func (c *composition) schedulerPart() (part, error) {
	if !c.config.Sync.Nodes.EnableScheduler {
		return part{}, nil
	}
	room, err := occupancy.New(occupancy.Config{Translator: c.translator, Informers: c.shared, Host: c.hostClient})
	if err != nil {
		return part{}, err
	}
	c.room, c.storage.AllowBinding, c.storage.Fits = room, true, room.Fits
	c.placement.translator, c.placement.room = c.translator, room
	return part{always: room.Observe}, nil
}

// nodesPart keeps the Nodes of the virtual cluster. If they are host nodes,
// every replica watches those, and one writes.
func (c *composition) nodesPart() (part, error) {
	n := c.config.Sync.Nodes
	if !n.Real() {
		made, err := nodes.New(nodes.Config{
			Virtual: c.lead.virtual, Informers: c.shared, Shape: nodes.DefaultShape(version.Get().GitVersion, runtime.GOARCH),
		})
		if err != nil {
			return part{}, err
		}
		c.storage.NodeTakesPods = made.Shown
		return part{leading: made.Run}, nil
	}
	wanted, err := n.Labels()
	if err != nil {
		return part{}, err
	}
	mirror, err := nodes.NewMirror(nodes.MirrorConfig{
		Virtual: c.lead.virtual, Informers: c.shared, Host: c.hostClient,
		Selector:    labels.SelectorFromSet(wanted),
		InUse:       !n.SyncAllNodes && n.NodeSelector == "",
		HideImages:  n.ClearImageStatus,
		Tolerations: c.config.Pods.Tolerations,
		Room:        c.room,
	})
	if err != nil {
		return part{}, err
	}
	c.placement.mirror = mirror
	c.storage.NodeShown, c.storage.NodeTakesPods, c.storage.ReadNodes = mirror.Shown, mirror.Shown, true
	return part{always: mirror.Observe, leading: mirror.Run}, nil
}

func (c *composition) volumesPart() (part, error) {
	v, err := volumes.New(volumes.Config{Virtual: c.lead.virtual, Informers: c.shared, Host: c.lead.host, Translator: c.translator})
	if err != nil {
		return part{}, err
	}
	return part{leading: v.Run}, nil
}

// classesPart shows the host's classes, and finds those that a new pod and a new
// ResourceClaim have on the host. Every replica watches them, and one writes.
func (c *composition) classesPart() (part, error) {
	shown, err := c.shownClasses()
	if err != nil {
		return part{}, err
	}
	shown.Virtual, shown.Informers = c.lead.virtual, c.shared
	mirror, err := classes.New(shown)
	if err != nil {
		return part{}, err
	}
	c.hostClasses = mirror
	c.storage.HostClasses = exemptIfHosts(&c.config.Isolation, mirror.For)
	c.storage.DeviceClasses, c.storage.MayHaveStorage = mirror.ForClaim, mirror.MayHaveStorage
	return part{always: mirror.Observe, leading: mirror.Run}, nil
}

// priorityClassesPart brings the tenant's priority classes to the host. It finds
// the class of a pod that names none of the host's.
func (c *composition) priorityClassesPart() (part, error) {
	to := c.config.Sync.ToHost.PriorityClasses
	if !to.Enabled {
		return part{}, nil
	}
	pusher, err := classes.NewPusher(classes.PushConfig{
		Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.hostClient, Leader: c.lead.host,
	}, to.MaxValue)
	if err != nil {
		return part{}, err
	}
	ofHost := c.storage.HostClasses
	c.storage.HostClasses = func(ctx context.Context, pod *corev1.Pod) (rewrite.HostClasses, error) {
		of, err := ofHost(ctx, pod)
		if err == nil && of.Priority == "" {
			push := pusher.For
			if host.IsDryRun(ctx) {
				push = pusher.Tried
			}
			of.PushedPriority, err = push(ctx, pod)
		}
		return of, err
	}
	return part{always: pusher.Observe, leading: pusher.Run}, nil
}

// storageClassesPart brings the tenant's storage classes to the host, and says
// which claims have them there.
func (c *composition) storageClassesPart() (part, error) {
	to := c.config.Sync.ToHost.StorageClasses
	if !to.Enabled {
		return part{}, nil
	}
	pusher, err := classes.NewStoragePusher(classes.PushConfig{
		Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared, Host: c.hostClient, Leader: c.lead.host,
	}, classes.StorageLimits{Provisioners: to.Provisioners, Parameters: to.Parameters}, c.hostClasses)
	if err != nil {
		return part{}, err
	}
	c.storage.PushedStorage = func(ctx context.Context, name string) (bool, error) {
		if host.IsDryRun(ctx) {
			return pusher.Tried(ctx, name)
		}
		return pusher.For(ctx, name)
	}
	return part{always: pusher.Observe, leading: pusher.Run}, nil
}

// kubeDNSPart keeps the Service of the DNS, and its pods where pods are the DNS.
func (c *composition) kubeDNSPart() (part, error) {
	cfg := c.config.CoreDNS
	if !cfg.Enabled {
		return part{}, nil
	}
	keep := kubedns.Config{Translator: c.translator, Virtual: c.lead.virtual, Informers: c.shared}
	if cfg.Mode == config.CoreDNSDeployment {
		keep.Deployment = &kubedns.Deployment{Replicas: int32(cfg.Replicas), Image: cfg.Image, Upstream: cfg.Upstream}
	}
	keeper, err := kubedns.New(keep)
	if err != nil {
		return part{}, err
	}
	return part{leading: keeper.Run}, nil
}

// dnsPart answers the questions of pods, in every replica.
func (c *composition) dnsPart() (part, error) {
	if c.dnsSockets == nil {
		return part{}, nil
	}
	cfg := c.config.CoreDNS
	answers := dns.Config{
		Informers: c.shared, Domain: c.config.ClusterDomain, Upstreams: upstreams(cfg.Upstream),
		Queries: cfg.QueriesPerSecond, Connections: cfg.Connections,
	}
	if c.services.IsValid() {
		answers.Sealed = append(answers.Sealed, c.services)
	}
	for _, client := range cfg.Clients {
		p, err := netip.ParsePrefix(client)
		if err != nil {
			return part{}, fmt.Errorf("coredns.clients: %w", err)
		}
		answers.Clients = append(answers.Clients, p.Masked())
	}
	server, err := dns.New(answers)
	if err != nil {
		return part{}, err
	}
	return part{always: func(ctx context.Context) error { return server.Run(ctx, c.dnsSockets) }}, nil
}
