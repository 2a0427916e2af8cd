// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package robustness_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdk8s "go.etcd.io/etcd/client/v3/kubernetes"

	"portico.dev/portico/store/sqlite"
)

// childVariable makes the test binary a child; its value is an order.
const childVariable = "PORTICO_ROBUSTNESS"

// order holds the parameters of a child.
type order struct {
	Dir     string
	Seed    uint64
	Round   int
	Clients int
	From    int64   // the log is dumped after this revision
	Watched []int64 // where each watch has got to
	Compact int64   // give up history up to there, while clients run
	Drain   bool    // no clients: end by itself when the watches are at the tip
	Broken  string  // the fault to make, which must be noticed
}

// child runs in the process that will be killed.
type child struct {
	order
	engine *sqlite.Engine
	client *etcdk8s.Client

	found int64 // the revision that was dumped

	mu  sync.Mutex
	out *json.Encoder
	// leases that were granted, of which some may be over.
	leases []int64
}

func runChild() bool {
	text := os.Getenv(childVariable)
	if text == "" {
		return false
	}
	c := &child{out: json.NewEncoder(os.Stdout)}
	if err := json.Unmarshal([]byte(text), &c.order); err != nil {
		c.fail("order: %v", err)
		return true
	}
	c.run(context.Background())
	return true
}

func (c *child) say(l line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.At = time.Now().UnixMilli()
	_ = c.out.Encode(l) // one write; there is no one to report a failure to
}

func (c *child) fail(format string, args ...any) {
	c.say(line{Type: "error", Text: fmt.Sprintf(format, args...)})
}

func (c *child) run(ctx context.Context) {
	e, err := sqlite.Open(ctx, sqlite.Options{Dir: c.Dir, Retention: -1, ProgressInterval: 20 * time.Millisecond})
	if err != nil {
		c.fail("open: %v", err)
		return
	}
	defer e.Close()
	c.engine, c.client = e, e.Client()
	if err := c.dump(ctx); err != nil {
		c.fail("dump: %v", err)
		return
	}
	var wg sync.WaitGroup
	for n := range watchRanges {
		wg.Go(func() { c.watch(ctx, n) })
	}
	if !c.Drain {
		if c.Compact > e.CompactRevision() {
			wg.Go(func() {
				if err := e.Compact(ctx, c.Compact); err != nil {
					c.fail("compact to %d: %v", c.Compact, err)
				}
			})
		}
		for n := range c.Clients {
			wg.Go(func() { c.play(ctx, n) })
		}
	}
	wg.Wait()
}

// dump writes down the keys that the store holds, and its log since the last
// dump.
func (c *child) dump(ctx context.Context) error {
	rev := c.engine.Index().Revision()
	c.found = rev
	l := line{Type: "open", Rev: rev}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.From < rev {
		for resp := range c.client.Watch(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithRev(c.From+1), clientv3.WithPrevKV()) {
			if err := resp.Err(); err != nil {
				return err
			}
			l.Events = append(l.Events, toEvents(resp.Events)...)
			if n := len(l.Events); n > 0 && l.Events[n-1].rev() >= rev {
				break
			}
		}
	}
	for len(l.Events) > 0 && l.Events[len(l.Events)-1].rev() > rev {
		l.Events = l.Events[:len(l.Events)-1]
	}
	resp, err := c.client.Kubernetes.List(ctx, "/", etcdk8s.ListOptions{Revision: rev})
	if err != nil {
		return err
	}
	l.KVs = toKVs(resp.Kvs...)
	c.say(l)
	return nil
}

// watch goes on where the watch of that number has got to.
func (c *child) watch(ctx context.Context, n int) {
	opts := []clientv3.OpOption{clientv3.WithRev(c.Watched[n] + 1), clientv3.WithPrevKV(), clientv3.WithProgressNotify()}
	if n < len(watchRanges)-1 {
		opts = append(opts, clientv3.WithPrefix())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	skipped := 0
	for resp := range c.client.Watch(ctx, watchRanges[n], opts...) {
		if err := resp.Err(); err != nil {
			c.fail("watch %d from %d: %v", n, c.Watched[n]+1, err)
			return
		}
		events := toEvents(resp.Events)
		if skipped++; skipped%50 == 0 {
			switch c.Broken {
			case "watch loses":
				continue
			case "watch repeats":
				events = append(events, events...)
			case "watch reorders":
				for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
					events[i], events[j] = events[j], events[i]
				}
			}
		}
		progress := resp.IsProgressNotify()
		rev := resp.Header.Revision
		if progress && c.Broken == "early progress" {
			rev += 3
		}
		c.say(line{Type: "watch", Watch: n, Rev: rev, Progress: progress, Events: events})
		if c.Drain && progress && resp.Header.Revision >= c.found {
			return
		}
	}
}

// play is a client.
func (c *child) play(ctx context.Context, client int) {
	p := &player{child: c, client: client, rand: rand.New(rand.NewPCG(c.Seed, uint64(c.Round)<<16|uint64(client)))}
	for n := 0; ; n++ {
		o, value := p.next(n)
		if p.rand.IntN(20) == 0 {
			if err := c.client.RequestProgress(ctx); err != nil {
				c.fail("request progress: %v", err)
				return
			}
		}
		c.say(line{Type: "call", Op: &o})
		r, err := p.do(ctx, o, value)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			r, err = result{NoLease: true}, nil
		}
		if err != nil {
			c.fail("%+v: %v", o, err)
			return
		}
		r.ID = o.ID
		p.learn(o, r)
		c.say(line{Type: "ret", Res: &r})
	}
}
