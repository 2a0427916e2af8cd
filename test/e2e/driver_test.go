// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	specs "tags.cncf.io/container-device-interface/specs-go"
)

// deviceVariable is set to the name of the device in the containers that have one.
const deviceVariable = "E2E_DEVICE"

// driver is a DRA driver on one node of the lab. Its devices are variables of
// the container.
type driver struct {
	name string
	root string // of the node's file system, seen from here
}

var _ kubeletplugin.DRAPlugin = (*driver)(nil)

// startDriver runs a driver with some devices on a node until the test ends, and
// offers them in a DeviceClass of the same name, which it returns.
func startDriver(t *testing.T, node string, devices ...string) string {
	t.Helper()
	// Two runs at the same time, on one lab, have each their own.
	d := &driver{name: fmt.Sprintf("devices-%d.example.com", os.Getpid())}
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(lab.kubeconfig), "run", node+".pid"))
	if err != nil {
		t.Fatal(err)
	}
	d.root = filepath.Join("/proc", strings.TrimSpace(string(pid)), "root")
	sockets := filepath.Join(kubeletplugin.KubeletPluginsDir, d.name)
	for _, dir := range []string{d.at(sockets), d.at(cdiDir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(d.at(sockets)); err != nil {
			t.Error(err)
		}
	})

	config, err := clientcmd.BuildConfigFromFlags("", lab.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	// Not bound to the test's context: when that ends, pods are still to be unprepared.
	helper, err := kubeletplugin.Start(context.WithoutCancel(t.Context()), d,
		kubeletplugin.DriverName(d.name), kubeletplugin.KubeClient(client), kubeletplugin.NodeName(node),
		kubeletplugin.RegistrarListener(d.listen), kubeletplugin.PluginListener(d.listen), kubeletplugin.HealthService(false))
	if err != nil {
		t.Fatalf("start the driver: %v", err)
	}
	t.Cleanup(helper.Stop)
	eventually(t, "the kubelet takes the driver", func() (bool, string) {
		s := helper.RegistrationStatus()
		return s != nil && s.PluginRegistered, s.String()
	})
	d.publish(t, client.ResourceV1().ResourceSlices(), node, devices)
	d.offer(t, client.ResourceV1().DeviceClasses())
	return d.name
}

const cdiDir = "/run/cdi"

func (d *driver) at(path string) string { return filepath.Join(d.root, path) }

// listen opens a socket on the node.
func (d *driver) listen(_ context.Context, path string) (net.Listener, error) {
	if err := os.Remove(d.at(path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", d.at(path))
}

func (d *driver) publish(t *testing.T, slices interface {
	Create(ctx context.Context, s *resourcev1.ResourceSlice, o metav1.CreateOptions) (*resourcev1.ResourceSlice, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}, node string, devices []string) {
	t.Helper()
	s := &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: d.name}, Spec: resourcev1.ResourceSliceSpec{
		Driver: d.name, NodeName: &node, Pool: resourcev1.ResourcePool{Name: node, ResourceSliceCount: 1},
	}}
	for _, name := range devices {
		s.Spec.Devices = append(s.Spec.Devices, resourcev1.Device{Name: name})
	}
	if _, err := slices.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := slices.Delete(context.Background(), s.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete the devices: %v", err)
		}
	})
}

func (d *driver) offer(t *testing.T, classes interface {
	Create(ctx context.Context, c *resourcev1.DeviceClass, o metav1.CreateOptions) (*resourcev1.DeviceClass, error)
	Delete(ctx context.Context, name string, o metav1.DeleteOptions) error
}) {
	t.Helper()
	c := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: d.name}, Spec: resourcev1.DeviceClassSpec{
		Selectors: []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: fmt.Sprintf("device.driver == %q", d.name)}}},
	}}
	if _, err := classes.Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := classes.Delete(context.Background(), c.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete the class: %v", err)
		}
	})
}

// PrepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *driver) PrepareResourceClaims(_ context.Context, claims []*resourcev1.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		devices, err := d.prepare(claim)
		results[claim.UID] = kubeletplugin.PrepareResult{Devices: devices, Err: err}
	}
	return results, nil
}

// prepare writes for the container runtime the changes to a container with the
// devices of a claim (https://github.com/cncf-tags/container-device-interface).
func (d *driver) prepare(claim *resourcev1.ResourceClaim) ([]kubeletplugin.Device, error) {
	spec := specs.Spec{Version: "0.5.0", Kind: d.name + "/device"}
	var out []kubeletplugin.Device
	for _, r := range claim.Status.Allocation.Devices.Results {
		if r.Driver != d.name {
			continue
		}
		name := string(claim.UID) + "-" + r.Device
		spec.Devices = append(spec.Devices, specs.Device{Name: name, ContainerEdits: specs.ContainerEdits{Env: []string{deviceVariable + "=" + r.Device}}})
		out = append(out, kubeletplugin.Device{
			Requests: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device, CDIDeviceIDs: []string{spec.Kind + "=" + name},
		})
	}
	content, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return out, os.WriteFile(d.file(claim.UID), content, 0o600)
}

func (d *driver) file(claim types.UID) string {
	return d.at(filepath.Join(cdiDir, d.name+"-"+string(claim)+".json"))
}

// UnprepareResourceClaims implements kubeletplugin.DRAPlugin.
func (d *driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		err := os.Remove(d.file(claim.UID))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		results[claim.UID] = err
	}
	return results, nil
}

// HandleError implements kubeletplugin.DRAPlugin.
func (d *driver) HandleError(ctx context.Context, err error, msg string) {
	utilruntime.HandleErrorWithContext(ctx, err, msg)
}

// WatchHealthStatus implements kubeletplugin.DRAPlugin.
func (d *driver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}
