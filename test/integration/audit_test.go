// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"portico.dev/portico/test/embedded"
)

// auditPolicy logs who did something to pods and Secrets, and no body.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [portico-admin]
  resources: [{resources: [pods, secrets]}]
- level: None
`

func TestRequestsOfTenantsAreLogged(t *testing.T) {
	dir := t.TempDir()
	policy, log := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	c := embedded.NewClusterWith(t, embedded.SharedHost(t), "audit: {policyFile: "+policy+", log: {path: "+log+"}}\n")
	c.CreateNamespace("a")
	c.CreatePod("a", embedded.Pod("p", nil))
	embedded.Eventually(t, "the creation in the log", func(context.Context) (bool, string) {
		file, err := os.Open(log)
		if err != nil {
			return false, err.Error()
		}
		defer file.Close()
		var lines []string
		for scanner := bufio.NewScanner(file); scanner.Scan(); {
			lines = append(lines, scanner.Text())
			var e auditv1.Event
			if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
				return false, err.Error()
			}
			if e.Verb == "create" && e.ObjectRef != nil && e.ObjectRef.Resource == "pods" && e.ObjectRef.Namespace == "a" && e.ObjectRef.Name == "p" {
				return e.User.Username == "portico-admin" && e.RequestObject == nil && e.ResponseStatus.Code == 201, scanner.Text()
			}
		}
		return false, strings.Join(lines, "\n")
	})
}
