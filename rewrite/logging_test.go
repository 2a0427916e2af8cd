// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"portico.dev/portico/rewrite"
)

// TestLogAgentsFindTheVirtualNames: docs/logging.md reads keys of host pods that
// are there, whether the host name has a hash or not.
func TestLogAgentsFindTheVirtualNames(t *testing.T) {
	page, err := os.ReadFile("../docs/logging.md")
	if err != nil {
		t.Fatal(err)
	}
	for reason, name := range map[string]string{"a plain host name": "web", "a hashed one": strings.Repeat("long-", 20) + "name"} {
		t.Run(reason, func(t *testing.T) {
			h := toHost(t, mustNew(t, testCluster()), pod("demo", name, map[string]string{"app": "web"}), testInputs()).(*corev1.Pod)
			want := map[string]string{
				rewrite.LabelCluster: testCluster().Name, rewrite.LabelNamespace: "demo", rewrite.AnnotationName: name, // of the namespace, label and annotation have one key
			}
			for _, key := range regexp.MustCompile(`portico\.dev/[a-z-]+`).FindAllString(string(page), -1) {
				_, labelled := h.Labels[key]
				_, annotated := h.Annotations[key]
				if !labelled && !annotated && key != rewrite.AnnotationOverlay && key != rewrite.Prefix+"label-" {
					t.Errorf("the page reads %s, which the host pod does not have: labels %v, annotations %v", key, h.Labels, h.Annotations)
				}
				if v, ok := want[key]; ok && !slices.Contains([]string{h.Labels[key], h.Annotations[key]}, v) {
					t.Errorf("%s is %q and %q, want %q", key, h.Labels[key], h.Annotations[key], v)
				}
			}
			if h.Labels[rewrite.LabelCluster] == "" || h.Annotations[rewrite.AnnotationName] == "" || h.Annotations[rewrite.AnnotationNamespace] == "" {
				t.Errorf("labels %v, annotations %v", h.Labels, h.Annotations)
			}
		})
	}
}
