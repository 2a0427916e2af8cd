// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// beat is how often each cluster sleeps and wakes.
const beat = time.Minute

// soak has o.awake clusters sleep and wake until the time is over. It ends with
// the first thing that is lost.
func soak(ctx context.Context, f *fleet, o options) error {
	if err := f.grow(ctx, o.awake, o.together); err != nil {
		return err
	}
	until := time.Now().Add(o.soak)
	all, ctx := errgroup.WithContext(ctx)
	for i := range o.awake {
		all.Go(func() error {
			s := &sleeper{cluster: f.named(i), random: rand.New(rand.NewPCG(o.seed, uint64(i)))} //nolint:gosec // It chooses moments.
			for time.Now().Before(until) {
				if err := s.round(ctx); err != nil {
					return fmt.Errorf("%s, after %d rounds: %w", s.name, s.rounds, err)
				}
			}
			f.say("%s: %d rounds, %d kills, %d writes, nothing lost", s.name, s.rounds, s.kills, s.written)
			return nil
		})
	}
	all.Go(func() error {
		for time.Now().Before(until) {
			if err := pause(ctx, beat+7*time.Second); err != nil {
				return ended(ctx, err)
			}
			if err := f.cutGateway(ctx); err != nil {
				return fmt.Errorf("open the gateway again: %w", err)
			}
		}
		return nil
	})
	return all.Wait()
}

// sleeper is a cluster in a soak.
type sleeper struct {
	*cluster
	random                 *rand.Rand
	rounds, kills, written int
	pods                   map[types.UID]bool
}

// round is one beat: writes, a sleep, a wake, and a look at everything.
func (s *sleeper) round(ctx context.Context) error {
	began := time.Now()
	for range 5 {
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	// Half of the rounds have a kill somewhere in the next seconds, which falls
	// into going to sleep or into waking.
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		if s.random.IntN(2) == 0 && pause(ctx, time.Duration(s.random.IntN(20000))*time.Millisecond) == nil {
			s.kill()
			s.kills++
		}
	}()
	if err := s.sleep(ctx); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	<-killed
	s.rounds++
	if err := s.look(ctx); err != nil {
		return err
	}
	return ended(ctx, pause(ctx, time.Until(began.Add(beat))))
}

// write makes a ConfigMap. One that is there already was made by a try whose
// answer was lost.
func (s *sleeper) write(ctx context.Context) error {
	name := fmt.Sprintf("kept-%d", s.written)
	err := s.again(ctx, func(ctx context.Context) error {
		_, err := s.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	if err == nil {
		s.written++
	}
	return err
}

// look wakes the cluster and finds everything that was written, and the pods of
// its Deployment, which no sleep and no kill may have replaced.
func (s *sleeper) look(ctx context.Context) error {
	var maps *corev1.ConfigMapList
	var pods *corev1.PodList
	if err := s.again(ctx, func(ctx context.Context) (err error) {
		if err = s.ready(ctx); err != nil {
			return err
		}
		if maps, err = s.client.CoreV1().ConfigMaps(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{}); err != nil {
			return err
		}
		pods, err = s.client.CoreV1().Pods(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		return err
	}); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, m := range maps.Items {
		there[m.Name] = true
	}
	for i := range s.written {
		if name := fmt.Sprintf("kept-%d", i); !there[name] {
			return fmt.Errorf("lost ConfigMap %s of %d", name, s.written)
		}
	}
	now := map[types.UID]bool{}
	for _, p := range pods.Items {
		now[p.UID] = true
		if s.pods != nil && !s.pods[p.UID] {
			return fmt.Errorf("pod %s is another one than before", p.Name)
		}
	}
	if s.pods != nil && len(now) != len(s.pods) {
		return fmt.Errorf("%d pods, and %d before", len(now), len(s.pods))
	}
	s.pods = now
	return nil
}

// again tries until it succeeds: a kill or a cut gateway may end any request.
func (s *sleeper) again(ctx context.Context, do func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 250*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = do(ctx)
		return last == nil, nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return nil
}
