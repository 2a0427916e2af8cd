// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
)

// eachLine calls do for each line until it returns false or the stream ends,
// which is an error.
func eachLine(from io.Reader, do func(line string) bool) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the watch ended: %w", err)
		}
		if !do(line) {
			return nil
		}
	}
}

func contains(line, text string) bool { return strings.Contains(line, text) }

// joined is the first error that there is.
func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// watching are watches of one side that all wait for the same event.
type watching struct {
	name    string
	streams []io.ReadCloser
	arrived chan time.Time
	times   latencies
}

// turnsOfWatch is how many writes are measured, and watchPause the pause between
// two, in which all that the last one caused comes to its end.
const (
	turnsOfWatch = 60
	watchPause   = 30 * time.Millisecond
)

// measureWatch writes to the host, and measures when the event of each write
// arrives at watches of the host and of the tenant. Both are about the same
// write, so the difference is the door's.
func (b *bench) measureWatch(ctx context.Context) (err error) {
	door, host := side{"door", b.virtual, b.namespace + "-watch"}, side{"host", b.hostClient, b.hostNamespace}
	defer func() { err = joined(err, door.tearDown(ctx)) }()
	if err := door.setUp(ctx); err != nil {
		return fmt.Errorf("prepare the door: %w", err)
	}
	pod, hostName, err := onHost(ctx, door, host)
	if err != nil {
		return err
	}
	for _, n := range b.watches {
		b.say("Measuring events at %d watches", n)
		before := b.sample()
		sides := []*watching{{name: "door"}, {name: "host"}}
		for i, s := range []side{door, host} {
			name := pod
			if i == 1 {
				name = hostName
			}
			sides[i].arrived = make(chan time.Time, n)
			if i == 1 && n > 64 {
				n = 64 // the host's own fan-out is no subject here
			}
			if err := sides[i].open(ctx, s, name, n); err != nil {
				return fmt.Errorf("open %d watches of the %s: %w", n, s.name, err)
			}
		}
		held := b.sample()
		err := b.turns(ctx, host, hostName, sides)
		for _, w := range sides {
			w.close()
		}
		if err != nil {
			return err
		}
		b.report.events(len(sides[0].streams), sides[0].times, sides[1].times, before, held)
	}
	return nil
}

// onHost makes a pod inside, and returns its names on both sides.
func onHost(ctx context.Context, door, host side) (virtual, onHost string, err error) {
	const name = "watched"
	if err := door.post(ctx, gatedPods, name, ""); err != nil {
		return "", "", err
	}
	pod, err := door.client.CoreV1().Pods(door.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", "", err
	}
	// A translated pod has the same uid on both sides.
	list, err := host.client.CoreV1().Pods(host.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", "", err
	}
	i := slices.IndexFunc(list.Items, func(p corev1.Pod) bool { return p.UID == pod.UID })
	if i < 0 {
		return "", "", fmt.Errorf("no host pod in %s has the uid of the virtual pod", host.namespace)
	}
	return name, list.Items[i].Name, nil
}

// open begins n watches of one pod, each of which says when an event has arrived.
func (w *watching) open(ctx context.Context, s side, pod string, n int) error {
	for range n {
		stream, err := s.on(s.api().Get(), gatedPods, "").Param("watch", "1").
			VersionedParams(&metav1.ListOptions{FieldSelector: "metadata.name=" + pod, ResourceVersion: "0"}, scheme.ParameterCodec).Stream(ctx)
		if err != nil {
			return err
		}
		w.streams = append(w.streams, stream)
		go func() {
			_ = eachLine(stream, func(line string) bool { // it ends with the stream
				if contains(line, `"MODIFIED"`) {
					w.arrived <- time.Now()
				}
				return true
			})
		}()
	}
	return nil
}

func (w *watching) close() {
	for _, s := range w.streams {
		_ = s.Close()
	}
}

// turns writes, and waits for all watches each time.
func (b *bench) turns(ctx context.Context, host side, pod string, sides []*watching) error {
	for turn := range turnsOfWatch + 5 {
		began := time.Now()
		err := host.on(host.api().Patch(types.MergePatchType), gatedPods, pod).SubResource("status").
			Body(fmt.Appendf(nil, condition, time.Now().UnixNano())).Do(ctx).Error()
		if err != nil {
			return fmt.Errorf("write to the host: %w", err)
		}
		var waiting sync.WaitGroup
		failed := make(chan error, len(sides))
		for _, w := range sides {
			waiting.Go(func() {
				for range w.streams {
					select {
					case at := <-w.arrived:
						if turn >= 5 { // the first ones warm up
							w.times = append(w.times, at.Sub(began))
						}
					case <-time.After(10 * time.Second):
						failed <- fmt.Errorf("an event did not arrive at a watch of the %s", w.name)
						return
					}
				}
			})
		}
		waiting.Wait()
		select {
		case err := <-failed:
			return err
		case <-time.After(watchPause):
		}
	}
	for _, w := range sides {
		slices.Sort(w.times)
	}
	return nil
}
