// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
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
	porticod, namespace                               string
	requests, listed, starts                          int
	idle                                              time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Stderr, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		var failed *child.Error
		if errors.As(err, &failed) {
			fmt.Fprintf(os.Stderr, "--- end of %s\n%s---\n", failed.Log, failed.Tail)
		}
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		os.Exit(1)
	}
}

func parse(args []string, usage io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(usage)
	f.StringVar(&o.hostKubeconfig, "host-kubeconfig", "", "a running `host` cluster; with --virtual-kubeconfig")
	f.StringVar(&o.virtualKubeconfig, "virtual-kubeconfig", "", "a running `virtual` cluster of that host")
	f.StringVar(&o.etcdKubeconfig, "etcd-kubeconfig", "", "a `cluster` whose API server writes to etcd on the same disk; default: the lab, if it runs")
	f.StringVar(&o.porticod, "porticod", "bin/porticod", "the `program` to start clusters with when none are given")
	f.StringVar(&o.namespace, "namespace", "portico-bench", "`namespace` to make, use and remove in each cluster")
	f.IntVar(&o.requests, "requests", 1000, "measured requests of each side of a comparison")
	f.IntVar(&o.listed, "list", 500, "pods that a LIST returns")
	f.IntVar(&o.starts, "starts", 5, "starts of a virtual cluster, on a new and on an existing store each")
	f.DurationVar(&o.idle, "idle", time.Minute, "how long a virtual cluster is idle before its memory is read")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if (o.hostKubeconfig == "") != (o.virtualKubeconfig == "") {
		return o, errors.New("--host-kubeconfig and --virtual-kubeconfig go together")
	}
	if o.requests < 1 || o.listed < 1 || o.starts < 1 {
		return o, errors.New("--requests, --list and --starts must be at least 1")
	}
	return o, nil
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
	etcd, err := etcdClient(ctx, o)
	if err != nil {
		return err
	}
	r := &report{}
	var host, virtual kubernetes.Interface
	if o.hostKubeconfig != "" {
		if host, err = client(o.hostKubeconfig); err != nil {
			return err
		}
		if virtual, err = client(o.virtualKubeconfig); err != nil {
			return err
		}
		r.skip("start, idle memory", "the clusters ran already")
	} else {
		dir, err := os.MkdirTemp("", "portico-bench-")
		if err != nil {
			return fmt.Errorf("make a directory: %w", err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory; the result stands
		clusters, err := demo.Start(ctx, demo.ClusterOptions{Dir: dir, Executable: o.porticod})
		if err != nil {
			return fmt.Errorf("start clusters with %s (make build): %w", o.porticod, err)
		}
		defer func() { err = errors.Join(err, clusters.Stop()) }()
		if err := measureProcess(ctx, progress, r, clusters, o); err != nil {
			return err
		}
		if host, err = clusters.Host.Client(); err != nil {
			return err
		}
		if virtual, err = clusters.Virtual.Client(); err != nil {
			return err
		}
	}
	if err := measureRequests(ctx, progress, r, host, virtual, etcd, o); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s, %d CPUs, %s, load %s; %d requests of each side\n\n",
		cpuModel(), runtime.NumCPU(), runtime.GOOS+"/"+runtime.GOARCH, loadAverage(), o.requests)
	return r.write(out)
}

// measureProcess runs the scenarios that start and stop the virtual cluster.
func measureProcess(ctx context.Context, progress io.Writer, r *report, c *demo.Clusters, o options) error {
	fmt.Fprintln(progress, "Starting the virtual cluster again and again")
	if err := start(ctx, r, c, o.starts); err != nil {
		return fmt.Errorf("measure start: %w", err)
	}
	fmt.Fprintf(progress, "Leaving the virtual cluster idle for %s\n", o.idle)
	if err := idleMemory(ctx, r, c, o.idle); err != nil {
		return fmt.Errorf("measure idle memory: %w", err)
	}
	fmt.Fprintln(progress, "Restarting a virtual cluster with many objects")
	if err := restart(ctx, r, c, o.starts); err != nil {
		return fmt.Errorf("measure restarts: %w", err)
	}
	return nil
}

// measureRequests runs the scenarios that compare requests.
func measureRequests(ctx context.Context, progress io.Writer, r *report, host, virtual, etcd kubernetes.Interface, o options) (err error) {
	door := side{"door", virtual, o.namespace}
	direct := side{"host", host, o.namespace}
	fmt.Fprintf(progress, "Creating %d pods on each side\n", o.listed)
	for _, s := range []side{door, direct} {
		defer func() { err = errors.Join(err, s.tearDown(ctx)) }()
		if err := s.setUp(ctx, o.listed); err != nil {
			return fmt.Errorf("prepare the %s side: %w", s.name, err)
		}
	}
	for _, scenario := range []struct {
		what string
		run  func(context.Context, *report, side, side, int) error
	}{
		{"GET pod", getPod},
		{"LIST pods", listPods},
		{"POST pod", createPod},
	} {
		fmt.Fprintf(progress, "Measuring %s\n", scenario.what)
		if err := scenario.run(ctx, r, door, direct, o.requests); err != nil {
			return fmt.Errorf("measure %s: %w", scenario.what, err)
		}
	}
	if etcd == nil {
		r.skip("POST ConfigMap", "no --etcd-kubeconfig and no running lab")
		return nil
	}
	other := side{"etcd", etcd, o.namespace + "-etcd"}
	defer func() { err = errors.Join(err, other.tearDown(ctx)) }()
	if err := other.setUp(ctx, 0); err != nil {
		return fmt.Errorf("prepare the etcd side: %w", err)
	}
	fmt.Fprintln(progress, "Measuring POST ConfigMap")
	if err := createConfigMap(ctx, r, door, other, o.requests); err != nil {
		return fmt.Errorf("measure POST ConfigMap: %w", err)
	}
	return nil
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

// cpuModel and loadAverage describe the machine of the figures; both are known
// on Linux only.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:1], "")
}
