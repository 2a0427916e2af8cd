// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Each virtual cluster is filled with apiObjects objects in apiNamespace.
const (
	apiNamespace = "bench"
	apiObjects   = 500
)

// measureAPI measures ConfigMaps through the API servers of three virtual
// clusters that differ in their stores only. They share a host, which none of
// the requests reaches.
func measureAPI(ctx context.Context, progress io.Writer, r *report, stores []*side, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "portico-bench-api-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory; the result stands
	fmt.Fprintln(progress, "Starting a host and three virtual clusters")
	hostDir := filepath.Join(dir, "host")
	host, stop, err := startPorticod(ctx, o.porticod, hostDir, "host", "--data-dir", hostDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	var sides []*side
	for _, store := range stores {
		s, err := startCluster(ctx, o.porticod, filepath.Join(dir, store.name), filepath.Join(hostDir, "kubeconfig.yaml"), host, store)
		if err != nil {
			return fmt.Errorf("cluster on %s: %w", store.name, err)
		}
		defer s.stop() //nolint:errcheck // It has served its purpose.
		sides = append(sides, s)
		fmt.Fprintf(progress, "Filling the cluster on %s\n", store.name)
		if err := fillCluster(ctx, s); err != nil {
			return fmt.Errorf("fill the cluster on %s: %w", store.name, err)
		}
	}
	for _, scenario := range []struct {
		name    string
		clients int
		ask     request
	}{
		{"create", 1, createConfigMap(1)},
		{"create", 64, createConfigMap(64)},
		{"update", 1, updateConfigMap},
		{"get", 1, getConfigMap},
		{fmt.Sprintf("list of %d", apiObjects), 1, listConfigMaps},
	} {
		fmt.Fprintf(progress, "Measuring %s of ConfigMaps with %d clients\n", scenario.name, scenario.clients)
		got, err := turns(ctx, sides, scenario.clients, o, scenario.ask)
		if err != nil {
			return fmt.Errorf("%s of ConfigMaps: %w", scenario.name, err)
		}
		r.api = append(r.api, row{scenario.name, scenario.clients, got})
	}
	return nil
}

// startCluster starts a virtual cluster on a store; the embedded one needs none
// to be there.
func startCluster(ctx context.Context, binary, dir, hostKubeconfig string, host kubernetes.Interface, store *side) (*side, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bench-" + store.name}}
	if _, err := host.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("name: bench\nhost: {kubeconfig: %q, namespace: %q}\ndataDir: %q\nlisten: 127.0.0.1:0\ncoredns: {enabled: false}\n",
		hostKubeconfig, namespace.Name, dir)
	if store.endpoint != "" {
		config += fmt.Sprintf("store: {endpoint: %q, insecure: true}\n", "etcd://"+store.endpoint)
	}
	path := filepath.Join(dir, "portico.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	client, stop, err := startPorticod(ctx, binary, dir, "serve", "--config", path)
	if err != nil {
		return nil, err
	}
	return &side{name: store.name, dir: dir, api: client, stop: stop}, nil
}

// startPorticod starts a command of porticod that writes a kubeconfig into a
// directory when it is ready.
func startPorticod(ctx context.Context, binary, dir string, args ...string) (kubernetes.Interface, func() error, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	p := &process{cmd: cmd}
	kubeconfig := filepath.Join(dir, "kubeconfig.yaml")
	for wait := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(kubeconfig); err == nil {
			break
		}
		if ctx.Err() != nil || time.Since(wait) > 2*time.Minute {
			return nil, nil, errors.Join(fmt.Errorf("porticod %s is not ready", args[0]), p.stop(), errors.New(output.String()))
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, nil, errors.Join(err, p.stop())
	}
	config.QPS, config.ContentType = -1, runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, errors.Join(err, p.stop())
	}
	return client, p.stop, nil
}

func fillCluster(ctx context.Context, s *side) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: apiNamespace}}
	if _, err := s.api.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	for n := range apiObjects {
		if _, err := s.api.CoreV1().ConfigMaps(apiNamespace).Create(ctx, configMap("standing", n), metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func configMap(prefix string, n int) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%09d", prefix, n)},
		BinaryData: map[string][]byte{"value": value},
	}
}

// createConfigMap creates in a namespace that is not listed.
func createConfigMap(clients int) request {
	return func(ctx context.Context, s *side, n int) error {
		_, err := s.api.CoreV1().ConfigMaps("default").Create(ctx, configMap(fmt.Sprintf("of-%d", clients), n), metav1.CreateOptions{})
		return err
	}
}

// updateConfigMap changes an object each time, without a read before.
func updateConfigMap(ctx context.Context, s *side, n int) error {
	changed := configMap("standing", n%apiObjects)
	changed.Labels = map[string]string{"n": fmt.Sprint(n)}
	_, err := s.api.CoreV1().ConfigMaps(apiNamespace).Update(ctx, changed, metav1.UpdateOptions{})
	return err
}

func getConfigMap(ctx context.Context, s *side, n int) error {
	_, err := s.api.CoreV1().ConfigMaps(apiNamespace).Get(ctx, configMap("standing", n*7919%apiObjects).Name, metav1.GetOptions{})
	return err
}

// listConfigMaps lists all ConfigMaps of a namespace, those of its controllers
// included.
func listConfigMaps(ctx context.Context, s *side, _ int) error {
	list, err := s.api.CoreV1().ConfigMaps(apiNamespace).List(ctx, metav1.ListOptions{})
	if err == nil && len(list.Items) < apiObjects {
		err = fmt.Errorf("%d objects instead of %d", len(list.Items), apiObjects)
	}
	return err
}
