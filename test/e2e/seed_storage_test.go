// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// ownStorage is a class of the chapter about storage, of the lab's provisioner,
// with a claim and a pod that uses it.
const ownStorage = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: my-local-hostpath}
provisioner: rancher.io/local-path
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: my-persistent-volume-claim}
spec:
  storageClassName: my-local-hostpath
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {name: my-pod}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: my-pod
    image: docker.io/library/nginx:1.27
    volumeMounts: [{name: config, mountPath: /usr/share/nginx/html, subPath: html}]
  volumes: [{name: config, persistentVolumeClaim: {claimName: my-persistent-volume-claim}}]
`

// A tenant makes a class, and has a volume of it, with the values file that
// people have for vcluster; the host has the class under a name of its own.
func TestSeedStorage(t *testing.T) {
	t.Parallel()
	r := newSeedReader(t, "sync-storage.yaml")
	r.finally(t, "portico delete storage-vcluster --ignore-not-found")
	r.does(t, "portico create storage-vcluster --connect=false -f sync-storage.yaml")
	const inside = "portico connect storage-vcluster -- "
	writeFile(t, filepath.Join(r.home, "storage.yaml"), []byte(ownStorage))
	// The class of the host whose provisioner is allowed thereby.
	r.says(t, inside+"kubectl get storageclasses --no-headers", "standard")
	r.does(t, inside+"kubectl apply -f storage.yaml")
	r.does(t, inside+"kubectl wait pod/my-pod --for=condition=Ready --timeout "+patience.String())
	r.says(t, inside+"kubectl get pvc my-persistent-volume-claim -o 'jsonpath={.status.phase} {.spec.storageClassName}'", "Bound my-local-hostpath")

	copied := lastLine(r.does(t, "kubectl get pvc -n portico-storage-vcluster -o 'jsonpath={.items[?(@.metadata.annotations.portico\\.dev/name==\"my-persistent-volume-claim\")].spec.storageClassName}'"))
	if !strings.HasPrefix(copied, "portico-my-local-hostpath-x-") {
		t.Errorf("the host claim has class %q, want the copy's name", copied)
	}
	r.says(t, "kubectl get storageclass "+copied+" -o 'jsonpath={.provisioner} {.volumeBindingMode}'", "rancher.io/local-path WaitForFirstConsumer")
	if out, err := r.run(t.Context(), inside+"kubectl create -f - <<'END'\n"+strings.Replace(strings.SplitN(ownStorage, "---", 2)[0], "my-local-hostpath}", "stolen}", 1)+
		"parameters: {csi.storage.k8s.io/provisioner-secret-name: operators}\nEND"); err == nil || !strings.Contains(out, "provisioner-secret-name") {
		t.Errorf("a class with a Secret of the host: %v\n%s", err, out)
	}
	r.does(t, inside+"kubectl delete -f storage.yaml")
	eventually(t, "the copy of the class gone from the host", func() (bool, string) {
		out, err := r.run(t.Context(), "kubectl get storageclass "+copied+" --ignore-not-found -o name")
		return err == nil && strings.TrimSpace(out) == "", out
	})
}
