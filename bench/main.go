// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"portico.dev/portico/cmd/porticod/child"
	"portico.dev/portico/cmd/porticod/demo"
)

// options are the command line.
type options struct {
	hostKubeconfig, virtualKubeconfig, etcdKubeconfig string
	porticod, namespace, hostNamespace                string
	sections, out, gobench, profiles, commit          string
	clients, watches                                  []int
	listed, starts, rounds, pods, replicas, stored    int
	budget, idle                                      time.Duration
}

// bench is one run: the clusters, and the results so far.
type bench struct {
	options
	progress io.Writer
	report   *report

	// hostClient, virtual and etcd are the clients of the three API servers. The
	// last is nil where there is none.
	hostClient, virtual, etcd kubernetes.Interface

	// clusters are those that the benchmark started; nil if it did not.
	clusters     *demo.Clusters
	metricsAt    string
	metricsToken string
	scraper      *http.Client
}

// sections are the parts of a run, in order. Those of the process need clusters
// that the benchmark started.
var sections = []struct {
	name    string
	process bool
	run     func(*bench, context.Context) error
}{
	{"start", true, (*bench).measureStart},
	{"idle", true, (*bench).measureIdle},
	{"requests", false, (*bench).measureRequests},
	{"own", false, (*bench).measureOwn},
	{"watch", false, (*bench).measureWatch},
	{"deployment", false, (*bench).measureDeployment},
	{"scale", true, (*bench).measureScale},
	{"restart", true, (*bench).measureRestart},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		child.PrintLog(os.Stderr, err)
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	o := options{clients: clientCounts, watches: []int{64, 1000}}
	var names []string
	for _, s := range sections {
		names = append(names, s.name)
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.hostKubeconfig, "host-kubeconfig", "", "a running `host` cluster; with --virtual-kubeconfig")
	f.StringVar(&o.virtualKubeconfig, "virtual-kubeconfig", "", "a running `virtual` cluster of that host")
	f.StringVar(&o.hostNamespace, "host-namespace", "", "the `namespace` on the host that the virtual cluster lives in; with --virtual-kubeconfig")
	f.StringVar(&o.etcdKubeconfig, "etcd-kubeconfig", "", "a `cluster` whose API server writes to etcd on the same disk; default: the lab, if it runs")
	f.StringVar(&o.porticod, "porticod", "bin/porticod", "the `program` to start clusters with when none are given")
	f.StringVar(&o.namespace, "namespace", "portico-bench", "begin of the `namespaces` to make, use and remove in each cluster")
	f.StringVar(&o.sections, "sections", strings.Join(names, ","), "the `parts` to run")
	f.StringVar(&o.out, "out", "", "`directory` for bench.md, bench.json and bench.svg; default: the table is printed, no more")
	f.StringVar(&o.gobench, "gobench", "", "append each comparison to this `file` in the format of Go's benchmarks, for benchstat")
	f.StringVar(&o.profiles, "profiles", "", "`directory` for CPU and heap profiles of each scenario; needs a porticod built with the tag profile")
	f.StringVar(&o.commit, "commit", "", "the `commit` of porticod, for the report")
	f.Func("clients", "numbers of clients, with commas (default 1,8,64)", numbers(&o.clients))
	f.Func("watches", "numbers of watches, with commas (default 64,1000)", numbers(&o.watches))
	f.IntVar(&o.listed, "list", 1000, "pods that a LIST of many returns")
	f.IntVar(&o.starts, "starts", 5, "starts of a virtual cluster, on each store")
	f.IntVar(&o.rounds, "rounds", 8, "rounds of a comparison, at least; at most four times as many")
	f.DurationVar(&o.budget, "budget", 20*time.Second, "how long a comparison may go on for a tight interval")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long a virtual cluster is idle before and while it is measured")
	f.IntVar(&o.pods, "pods", 1000, "pods of the scale measurement")
	f.IntVar(&o.stored, "stored", 10000, "own objects of the scale measurement")
	f.IntVar(&o.replicas, "replicas", 100, "pods of the Deployment")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if (o.hostKubeconfig == "") != (o.virtualKubeconfig == "") || (o.hostKubeconfig == "") != (o.hostNamespace == "") {
		return o, errors.New("--host-kubeconfig, --virtual-kubeconfig and --host-namespace go together")
	}
	for _, n := range []int{o.listed, o.starts, o.rounds, o.pods, o.stored, o.replicas} {
		if n < 1 {
			return o, errors.New("--list, --starts, --rounds, --pods, --stored and --replicas must be at least 1")
		}
	}
	for _, name := range strings.Split(o.sections, ",") {
		if !slices.Contains(names, name) {
			return o, fmt.Errorf("--sections: %q is none of %s", name, strings.Join(names, ", "))
		}
	}
	if slices.Max(o.clients) > standingObjects {
		return o, fmt.Errorf("--clients: at most %d", standingObjects)
	}
	return o, nil
}

func numbers(to *[]int) func(string) error {
	return func(text string) error {
		*to = nil
		for field := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 1 {
				return fmt.Errorf("%q is no number of at least 1", field)
			}
			*to = append(*to, n)
		}
		return nil
	}
}

// labKubeconfig is the lab's (make lab-up): its API server stands on etcd.
func labKubeconfig() string {
	dir := os.Getenv("LAB_DIR")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "lab")
	}
	return filepath.Join(dir, "admin.conf")
}

// etcdClient returns a client of the etcd-backed cluster, or nil when none was
// asked for and no lab is running. It is called before anything is measured,
// so that a run of minutes does not end with a wrong path.
func etcdClient(ctx context.Context, o options) (kubernetes.Interface, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	kubeconfig := o.etcdKubeconfig
	if kubeconfig == "" {
		kubeconfig = labKubeconfig()
	}
	c, err := client(kubeconfig)
	if err == nil {
		err = c.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
	switch {
	case err == nil:
		return c, nil
	case o.etcdKubeconfig == "":
		return nil, nil //nolint:nilnil // no lab is the ordinary case
	default:
		return nil, fmt.Errorf("reach the etcd-backed cluster: %w", err)
	}
}

func run(ctx context.Context, out, progress io.Writer, args []string) (err error) {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	b := &bench{options: o, progress: progress, report: newReport(o.commit)}
	if b.etcd, err = etcdClient(ctx, o); err != nil {
		return err
	}
	if o.hostKubeconfig != "" {
		if b.hostClient, err = client(o.hostKubeconfig); err != nil {
			return err
		}
		if b.virtual, err = client(o.virtualKubeconfig); err != nil {
			return err
		}
	} else {
		end, err := b.startClusters(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	for _, s := range sections {
		if !slices.Contains(strings.Split(o.sections, ","), s.name) {
			continue
		}
		if s.process && b.clusters == nil {
			b.report.skip(s.name, "all", "the clusters ran already")
			continue
		}
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	b.report.end()
	if o.out != "" {
		if err := b.report.save(o.out); err != nil {
			return err
		}
	}
	if o.gobench != "" {
		if err := b.report.appendGo(o.gobench); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, b.report.markdown())
	return err
}

// startClusters starts an embedded host and a virtual cluster in it.
func (b *bench) startClusters(ctx context.Context) (end func() error, err error) {
	dir, err := os.MkdirTemp("", "portico-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if b.profiles != "" {
		// Both clusters inherit it; see cmd/porticod/profile.go.
		if err := errors.Join(os.MkdirAll(b.profiles, 0o750), os.Setenv("PORTICO_PROFILE_DIR", dir)); err != nil {
			return nil, err
		}
	}
	if b.metricsAt, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	b.say("Starting a host cluster and a virtual cluster with %s", b.porticod)
	b.clusters, err = demo.Start(ctx, demo.ClusterOptions{
		Dir: dir, Executable: b.porticod, Config: map[string]any{"metrics": map[string]any{"listen": b.metricsAt}},
	})
	if err != nil {
		return nil, fmt.Errorf("start clusters with %s (make build): %w", b.porticod, err)
	}
	end = func() error { return errors.Join(b.clusters.Stop(), os.RemoveAll(dir)) }
	b.hostNamespace = b.clusters.Namespace
	if b.hostClient, err = b.clusters.Host.Client(); err == nil {
		err = b.connect(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return end, nil
}

// connect makes the clients of a virtual cluster that has just started.
func (b *bench) connect(ctx context.Context) (err error) {
	if b.virtual, err = b.clusters.Virtual.Client(); err != nil {
		return err
	}
	return b.findMetrics(ctx)
}

func (b *bench) door() side { return side{"door", b.virtual, b.namespace} }
func (b *bench) host() side { return side{"host", b.hostClient, b.namespace} }

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.progress, format+"\n", args...) }

// compare measures one row.
func (b *bench) compare(ctx context.Context, section, what string, p plan, left, right side, door, other exercise) {
	var used cost
	door.do = used.counted(door.do)
	stop := b.profile(what, p.clients)
	before := b.sample()
	c, err := compare(ctx, p, door, other)
	used.add(before, b.sample())
	stop()
	if err != nil {
		b.report.skip(section, what+", clients "+strconv.Itoa(p.clients), err.Error())
		return
	}
	b.report.ratio(section, what, p.clients, left.name, right.name, c, &used)
}

// client returns a client that only the server limits.
func client(kubeconfig string) (kubernetes.Interface, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q: %w", kubeconfig, err)
	}
	cfg.QPS = -1
	return kubernetes.NewForConfig(cfg)
}

// freeAddress is one that nobody listens on now.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
