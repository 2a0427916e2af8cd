// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"portico.dev/portico/test/embedded"
)

// A reader of porticod's log, at the highest log level, looks for a Secret that
// a pod mounts, for the tokens of pods and for the administrator's key. The log
// has the requests and none of their bodies.
func TestAttackReaderOfTheLog(t *testing.T) {
	const secret = "correct-horse-battery"
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "logLevel: 10\n")
	c.CreateNamespace("a")
	if _, err := c.Virtual.CoreV1().Secrets("a").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, StringData: map[string]string{"k": secret}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p := embedded.Pod("p", nil)
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}}
	c.CreatePod("a", p)
	c.Settled("a", "p")
	copied, err := c.Host.CoreV1().Secrets(c.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(c.Process.Log)
	if err != nil {
		t.Fatal(err)
	}
	// All that is in the host's Secrets went through porticod's client.
	found := 0
	for _, s := range copied.Items {
		for k, v := range s.Data {
			if len(v) < 16 {
				continue
			}
			found++
			if strings.Contains(string(log), string(v)) {
				t.Errorf("the log has %s of host Secret %s", k, s.Name)
			}
		}
	}
	if found < 2 || !strings.Contains(string(log), "/api/v1/namespaces/"+c.Namespace+"/secrets") {
		t.Errorf("%d values to look for, and a log of %d bytes that may not have the requests", found, len(log))
	}
	for what, text := range map[string]string{"a body": "Request Body", "the Secret": secret, "a token": "eyJhbGciOi", "a key": "PRIVATE KEY"} {
		if strings.Contains(string(log), text) {
			t.Errorf("the log has %s", what)
		}
	}
}
