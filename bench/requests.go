// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// clientCounts are the numbers of clients that send requests at a time.
var clientCounts = []int{1, 8, 64}

// standingObjects is how many objects of a kind are there for reads and patches:
// one for each client.
const standingObjects = 64

// verb is a request to measure. make returns it for a side.
type verb struct {
	name string
	make func(s side, k kind) exercise
	// batch is how many requests of each side a round has, with one client.
	batch int
	// most is the highest number of clients, for requests that move megabytes.
	most int
}

// verbs are those of every translated kind.
var verbs = []verb{
	{name: "GET", batch: 100, make: func(s side, k kind) exercise {
		return exercise{do: func(ctx context.Context, client, _ int) error {
			return s.on(s.api().Get(), k, standing(client)).Do(ctx).Error()
		}}
	}},
	{name: "LIST 10", batch: 50, make: func(s side, k kind) exercise { return list(s.few(), k, "") }},
	{name: "LIST 10, version 0", batch: 50, make: func(s side, k kind) exercise { return list(s.few(), k, "0") }},
	{name: "POST", batch: 32, make: create},
	{name: "merge patch", batch: 32, make: func(s side, k kind) exercise { return patch(s, k, types.MergePatchType, "", turnedOf) }},
	{name: "strategic patch", batch: 32, make: func(s side, k kind) exercise { return patch(s, k, types.StrategicMergePatchType, "", turnedOf) }},
	{name: "apply", batch: 32, make: func(s side, k kind) exercise {
		return patch(s, k, types.ApplyPatchType, "", func(name string, turn int) []byte { return k.applied(name, turn) })
	}},
	{name: "status patch", batch: 32, make: func(s side, k kind) exercise {
		return patch(s, k, types.MergePatchType, "status", func(_ string, turn int) []byte { return fmt.Appendf(nil, k.status, turn) })
	}},
	{name: "DELETE", batch: 32, make: remove},
}

// listsOfMany are for pods alone.
var listsOfMany = []verb{
	{name: "LIST many", batch: 10, most: 8, make: func(s side, k kind) exercise { return list(s.many(), k, "") }},
	{name: "LIST many, version 0", batch: 10, most: 8, make: func(s side, k kind) exercise { return list(s.many(), k, "0") }},
}

func list(s side, k kind, version string) exercise {
	return exercise{do: func(ctx context.Context, _, _ int) error {
		return s.on(s.api().Get(), k, "").Param("resourceVersion", version).Do(ctx).Error()
	}}
}

func create(s side, k kind) exercise {
	return exercise{
		do: func(ctx context.Context, _, number int) error {
			return s.post(ctx, k, fmt.Sprintf("made-%d", number), "made")
		},
		after: func(ctx context.Context, _, _ int) error { return s.clear(ctx, k, "made") },
	}
}

func remove(s side, k kind) exercise {
	name := func(number int) string { return fmt.Sprintf("doomed-%d", number) }
	return exercise{
		before: func(ctx context.Context, from, n int) error {
			return parallel(makers, n, func(_, i int) error { return s.post(ctx, k, name(from+i), "doomed") })
		},
		do: func(ctx context.Context, _, number int) error {
			return s.on(s.api().Delete(), k, name(number)).Do(ctx).Error()
		},
	}
}

func turnedOf(_ string, turn int) []byte { return turned(turn) }

func patch(s side, k kind, of types.PatchType, subresource string, body func(name string, turn int) []byte) exercise {
	return exercise{do: func(ctx context.Context, client, number int) error {
		name := standing(client)
		r := s.on(s.api().Patch(of), k, name).Body(body(name, number))
		if subresource != "" {
			r = r.SubResource(subresource)
		}
		if of == types.ApplyPatchType {
			r = r.Param("fieldManager", "bench").Param("force", "true")
		}
		return r.Do(ctx).Error()
	}}
}

// measureRequests compares the door with its host, verb by verb.
func (b *bench) measureRequests(ctx context.Context) (err error) {
	door, host := b.door(), b.host()
	for _, s := range []side{door, host, door.few(), host.few(), door.many(), host.many()} {
		defer func() { err = joined(err, s.tearDown(ctx)) }()
		if err := s.setUp(ctx); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
	}
	for _, k := range translatedKinds {
		b.say("Making %d objects of kind %s on each side", standingObjects, k.name)
		for _, s := range []side{door, host} {
			if err := joined(s.fill(ctx, k, standingObjects), s.few().fill(ctx, k, 10)); err != nil {
				return fmt.Errorf("prepare the %s side: %w", s.name, err)
			}
		}
		b.measureVerbs(ctx, k, verbs, door, host)
	}
	b.say("Making %d pods on each side", b.listed)
	for _, s := range []side{door, host} {
		if err := s.many().fill(ctx, gatedPods, b.listed); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
	}
	b.measureVerbs(ctx, gatedPods, listsOfMany, door, host)
	b.measureRunning(ctx, door, host)
	return nil
}

// measureVerbs measures verbs of a kind with every number of clients. A verb that
// fails gets a row that says so; the others go on.
func (b *bench) measureVerbs(ctx context.Context, k kind, verbs []verb, left, right side) {
	for _, v := range verbs {
		for _, clients := range b.clients {
			if v.most > 0 && clients > v.most {
				continue
			}
			name := v.name + " " + k.name
			b.say("Measuring %s, %d clients", name, clients)
			batch := max(v.batch, 2*clients)
			if clients > 1 && v.most == 0 {
				batch *= 2
			}
			p := plan{clients: clients, batch: batch, rounds: b.rounds, budget: b.budget}
			b.compare(ctx, "requests", name, p, left, right, v.make(left, k), v.make(right, k))
		}
	}
}

// measureOwn compares the door's own kinds with an API server on etcd on the same
// disk.
func (b *bench) measureOwn(ctx context.Context) (err error) {
	if b.etcd == nil {
		b.report.skip("own kinds", "ConfigMaps beside etcd", "no --etcd-kubeconfig and no running lab")
		return nil
	}
	door, etcd := side{"door", b.virtual, b.namespace + "-own"}, side{"etcd", b.etcd, b.namespace + "-own"}
	for _, s := range []side{door, etcd} {
		defer func() { err = joined(err, s.tearDown(ctx)) }()
		if err := s.setUp(ctx); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
		if err := s.fill(ctx, configMaps, standingObjects); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
	}
	var own []verb
	for _, v := range verbs {
		if v.name != "status patch" && v.name != "LIST 10" && v.name != "LIST 10, version 0" {
			own = append(own, v)
		}
	}
	b.measureVerbs(ctx, configMaps, own, door, etcd)
	return nil
}

// measureRunning compares the time from the creation of a pod to the event that
// says that it runs.
func (b *bench) measureRunning(ctx context.Context, door, host side) {
	b.say("Measuring a pod from its creation until it runs")
	p := plan{clients: 1, batch: 5, rounds: b.rounds, budget: 3 * b.budget}
	b.compare(ctx, "pods that run", "pod, create to Running", p, door, host, runs(door), runs(host))
}

func runs(s side) exercise {
	return exercise{
		do: func(ctx context.Context, _, number int) error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			name := fmt.Sprintf("runs-%d", number)
			events, err := s.on(s.api().Get(), runningPods, "").Param("watch", "1").
				Param("fieldSelector", "metadata.name="+name).Stream(ctx)
			if err != nil {
				return err
			}
			defer events.Close()
			if err := s.post(ctx, runningPods, name, "runs"); err != nil {
				return err
			}
			return lineWith(events, `"phase":"Running"`)
		},
		after: func(ctx context.Context, _, _ int) error { return s.clear(ctx, runningPods, "runs") },
	}
}

// lineWith reads until a line has a text.
func lineWith(events io.Reader, text string) error {
	return eachLine(events, func(line string) bool { return !contains(line, text) })
}
