// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/rewrite"
)

// A pod goes to the host under another name and so do the objects that it
// refers to. The tenant then sees the host's changes to its copy, and no
// others.
func Example() {
	t, err := rewrite.New(rewrite.Cluster{Name: "my-vcluster", HostNamespace: "team-a"})
	if err != nil {
		panic(err)
	}
	virtual := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web-0"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "web",
			Env: []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
				SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: "password"},
			}}},
		}}},
	}
	host, err := t.PodToHost(virtual, rewrite.Inputs{})
	if err != nil {
		panic(err)
	}
	fmt.Println("host:   ", host.Namespace, host.Name, host.Spec.Containers[0].Env[0].ValueFrom.SecretKeyRef.Name)

	host.Spec.NodeName = "node-1"
	host.Status.Message = "cannot start " + host.Name
	virtual, err = t.PodToVirtual(host)
	if err != nil {
		panic(err)
	}
	fmt.Println("virtual:", virtual.Namespace, virtual.Name, virtual.Spec.Containers[0].Env[0].ValueFrom.SecretKeyRef.Name)
	fmt.Println("virtual:", virtual.Spec.NodeName, "-", virtual.Status.Message)
	// Output:
	// host:    team-a web-0-x-demo-x-my-vcluster db-x-demo-x-my-vcluster
	// virtual: demo web-0 db
	// virtual: node-1 - cannot start web-0
}
