// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/engine"

	"portico.dev/portico/certs"
	"portico.dev/portico/charts"
)

const (
	gatewayNamespace = "portico-gateway"
	gatewayPort      = 30843
)

// gatewayManifests renders the chart of the gateway as helm install does.
func gatewayManifests(t *testing.T, values map[string]any) string {
	t.Helper()
	chart, err := charts.Read(os.DirFS(filepath.Join("..", "..", "charts", "portico-gateway")))
	if err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "portico-gateway", Namespace: gatewayNamespace, IsInstall: true, Revision: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(files[name]) != "" {
			fmt.Fprintf(&b, "---\n%s\n", files[name])
		}
	}
	return b.String()
}

// installGateway runs a gateway on the lab, at a port of its nodes, and returns
// its address and the authority of its own certificate.
func installGateway(t *testing.T, r *reader) (address string, authority []byte) {
	t.Helper()
	node := strings.TrimSpace(r.does(t, `kubectl get nodes -o 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'`))
	address = net.JoinHostPort(node, fmt.Sprint(gatewayPort))

	ca, err := certs.NewAuthority("gateway of a test", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Leaf{CommonName: "gateway", IPs: []net.IP{net.ParseIP(node)}, Usage: certs.Server})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.home, "gateway.crt"), pair.CertPEM)
	writeFile(t, filepath.Join(r.home, "gateway.key"), pair.KeyPEM)
	writeFile(t, filepath.Join(r.home, "gateway.yaml"), []byte(gatewayManifests(t, map[string]any{
		"address": address,
		"service": map[string]any{"type": "NodePort", "nodePort": gatewayPort, "externalTrafficPolicy": "Cluster"},
		"connect": map[string]any{"enabled": true, "tlsSecret": "gateway-tls"},
		"wake":    map[string]any{"enabled": true},
		// The test ends connections itself.
		"drainSeconds": 1,
	})))
	r.finally(t, "kubectl delete namespace "+gatewayNamespace+" --ignore-not-found")
	r.finally(t, "kubectl delete --ignore-not-found -f gateway.yaml")
	r.does(t, "kubectl create namespace "+gatewayNamespace)
	r.does(t, "kubectl create secret tls gateway-tls -n "+gatewayNamespace+" --cert gateway.crt --key gateway.key")
	r.does(t, "kubectl apply -f gateway.yaml")
	r.does(t, "kubectl rollout status deployment/portico-gateway -n "+gatewayNamespace+" --timeout "+patience.String())
	return address, ca.CertPEM()
}

// TestGateway leads people to a cluster by the two ways of the gateway, and
// streams go both ways through each.
func TestGateway(t *testing.T) {
	// Not parallel: every portico on this host takes a gateway that is there.
	loadImage(t)
	r := newReader(t)
	address, authority := installGateway(t, r)
	r.finally(t, "portico delete led --ignore-not-found")
	r.does(t, "portico create led --connect=false")

	r.does(t, "(umask 077; portico connect led --print >led.kubeconfig)")
	if got := r.does(t, "kubectl --kubeconfig led.kubeconfig config view -o 'jsonpath={.clusters[0].cluster.server} {.clusters[0].cluster.tls-server-name}'"); got != "https://"+address+" led.portico-led.svc" {
		t.Fatalf("portico connect leads to %s", got)
	}
	r.does(t, "kubectl --kubeconfig led.kubeconfig run web "+nettool)
	usesStreams(t, r, "led.kubeconfig")

	// A token for this one cluster, and the authority of the gateway behind that
	// of the cluster.
	r.does(t, "kubectl create serviceaccount -n portico-led led.gateway")
	token := r.does(t, "kubectl create token -n portico-led led.gateway --audience portico.dev/gateway --duration 1h")
	cluster, err := base64.StdEncoding.DecodeString(r.does(t, "kubectl --kubeconfig led.kubeconfig config view --raw -o 'jsonpath={.clusters[0].cluster.certificate-authority-data}'"))
	if err != nil {
		t.Fatal(err)
	}
	both := base64.StdEncoding.EncodeToString(append(append(cluster, '\n'), authority...))
	name := r.does(t, "kubectl --kubeconfig led.kubeconfig config view -o 'jsonpath={.clusters[0].name}'")
	through := func(file, token string) {
		r.does(t, "cp led.kubeconfig "+file)
		for key, value := range map[string]string{
			"server": "https://led.portico-led.svc", "proxy-url": "https://portico:" + token + "@" + address, "certificate-authority-data": both,
		} {
			r.does(t, fmt.Sprintf("kubectl --kubeconfig %s config set 'clusters.%s.%s' '%s'", file, name, key, value))
		}
		r.does(t, fmt.Sprintf("kubectl --kubeconfig %s config unset 'clusters.%s.tls-server-name'", file, name))
	}
	through("connect.kubeconfig", token)
	usesStreams(t, r, "connect.kubeconfig")

	through("stranger.kubeconfig", "a-token-of-nobody")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := r.run(ctx, "kubectl --kubeconfig stranger.kubeconfig get pods"); err == nil || !strings.Contains(out, "token") {
		t.Errorf("a stranger's token: %v\n%s", err, out)
	}
}

// usesStreams reads, watches, runs a command, follows a log, copies and forwards
// a port, with the pod web of a kubeconfig.
func usesStreams(t *testing.T, r *reader, kubeconfig string) {
	t.Helper()
	k := "kubectl --kubeconfig " + kubeconfig + " "
	r.does(t, k+"wait pod/web --for=condition=Ready --timeout "+patience.String())
	if got := r.does(t, "echo to a container | "+k+"exec -i web -- cat"); got != "to a container" {
		t.Errorf("exec through the gateway: %s", got)
	}
	r.does(t, "head -c 3000000 /dev/urandom >sent; "+k+"cp sent web:/tmp/sent && "+k+"cp web:/tmp/sent received && cmp sent received")
	r.says(t, k+`port-forward pod/web :80 >forward & forward=$!
		until grep -q Forwarding forward || ! kill -0 $forward; do sleep 0.1; done
		curl -s localhost:$(sed -n 's/.*127.0.0.1:\([0-9]*\).*/\1/p' forward); kill $forward`, welcome)
	r.says(t, "timeout 20 "+k+`logs -f web >followed & follow=$!
		`+k+`exec web -- curl -s localhost/seen-in-the-log >/dev/null
		until grep seen-in-the-log followed || ! kill -0 $follow; do sleep 0.1; done; kill $follow; true`, "seen-in-the-log")
}
