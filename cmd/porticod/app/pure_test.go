// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/store"
)

// listener has an address and nothing else.
type listener struct{ net.Listener }

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

type addressed struct {
	listener
	at address
}

func (l addressed) Addr() net.Addr { return l.at }

func TestAdvertisedAddress(t *testing.T) {
	for reason, tc := range map[string]struct {
		configured, listens, want string
	}{
		"the configuration wins":                       {"192.0.2.10:443", "0.0.0.0:8443", "192.0.2.10:443"},
		"the listener's own address":                   {"", "192.0.2.7:8443", "192.0.2.7:8443"},
		"all addresses: loopback leads nowhere else":   {"", "0.0.0.0:8443", "127.0.0.1:8443"},
		"all addresses of both families":               {"", "[::]:8443", "127.0.0.1:8443"},
		"an address of the other family":               {"[2001:db8::1]:443", "0.0.0.0:8443", "[2001:db8::1]:443"},
		"a name is no address: refused, not looked up": {"example:443", "0.0.0.0:8443", ""},
	} {
		t.Run(reason, func(t *testing.T) {
			vc := &virtualCluster{config: config.Default()}
			vc.config.Host.AdvertiseAddress = tc.configured
			got, err := vc.advertised(addressed{at: address(tc.listens)})
			if tc.want == "" {
				if err == nil || !strings.Contains(err.Error(), "host.advertiseAddress") {
					t.Errorf("got %v, %v; want an error that names host.advertiseAddress", got, err)
				}
				return
			}
			if err != nil || got.String() != tc.want {
				t.Errorf("got %v, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestDoorOptionsAdvertiseOnlyWhatTheHostReaches(t *testing.T) {
	for reason, tc := range map[string]struct {
		kubeconfig, at, want string
	}{
		"outside of the host":           {"host.kubeconfig", "192.0.2.7:8443", "192.0.2.7"},
		"outside, but on loopback":      {"host.kubeconfig", "127.0.0.1:8443", ""},
		"a pod of the host: a selector": {"", "192.0.2.7:8443", ""},
		"outside, on loopback of IPv6":  {"host.kubeconfig", "[::1]:8443", ""},
		"outside, on an IPv6 address":   {"host.kubeconfig", "[2001:db8::1]:8443", "2001:db8::1"},
	} {
		t.Run(reason, func(t *testing.T) {
			vc := &virtualCluster{config: config.Default()}
			vc.config.Host.Kubeconfig = tc.kubeconfig
			vc.config.Replicas = 3
			o := vc.doorOptions(netip.MustParseAddrPort(tc.at))
			got := ""
			if o.Advertise.IsValid() {
				got = o.Advertise.String()
			}
			if got != tc.want || o.TargetPort != 8443 || !o.Replicas {
				t.Errorf("got %q, port %d, replicas %v; want %q, 8443, true", got, o.TargetPort, o.Replicas, tc.want)
			}
		})
	}
}

func TestServerOfTheKubeconfigOnTheHost(t *testing.T) {
	for reason, tc := range map[string]struct{ kubeconfig, configured, at, want string }{
		"a pod of the host: its Service":                    {"", "", "10.244.0.7:8443", "https://vc.team-a.svc"},
		"outside, at an address of its own: the Service":    {"/host", "", "192.0.2.7:8443", "https://vc.team-a.svc"},
		"the configured address":                            {"/host", "192.0.2.10:443", "192.0.2.10:443", "https://192.0.2.10:443"},
		"loopback, to which no Service leads: that address": {"/host", "", "127.0.0.1:8443", "https://127.0.0.1:8443"},
	} {
		t.Run(reason, func(t *testing.T) {
			vc := &virtualCluster{config: config.Default(), at: netip.MustParseAddrPort(tc.at)}
			vc.config.Host = config.Host{Kubeconfig: tc.kubeconfig, AdvertiseAddress: tc.configured, ServiceName: "vc", Namespace: "team-a"}
			if got := vc.accessURL(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestNamesOfTheDoorAreSortedByWhatTheyAre(t *testing.T) {
	o := controlPlaneOptions{clusterDomain: "example", names: []string{"my-vcluster", "10.0.0.1", ""}}
	o.moreNames = func() []string { return []string{"2001:db8::1", "my-vcluster.team-a.svc"} }
	got := o.sans()
	want := certs.BundleOptions{
		ClusterDomain: "example",
		DNSNames:      []string{"my-vcluster", "my-vcluster.team-a.svc"},
		IPs:           []net.IP{net.ParseIP("10.0.0.1"), net.ParseIP("2001:db8::1")},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRefuseUsed(t *testing.T) {
	for reason, tc := range map[string]struct {
		entry   string
		refused bool
	}{
		"empty":              {"", false},
		"a new file system":  {"lost+found", false},
		"anything else":      {"pki", true},
		"also hidden things": {".snapshot", true},
	} {
		t.Run(reason, func(t *testing.T) {
			dir := t.TempDir()
			if tc.entry != "" {
				if err := os.Mkdir(filepath.Join(dir, tc.entry), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			err := refuseUsed(dir)
			if tc.refused != (err != nil) || err != nil && !strings.Contains(err.Error(), tc.entry) {
				t.Errorf("got %v, want refused %v with the entry's name", err, tc.refused)
			}
		})
	}
}

func TestErrorsOfRestoreSayWhatToDo(t *testing.T) {
	for _, cause := range []error{store.ErrCorrupt, store.ErrNewerSchema, store.ErrForeign} {
		err := withRestoreHint(fmt.Errorf("restore: %w", cause))
		var hinted interface{ Hint() string }
		if !errors.As(err, &hinted) || hinted.Hint() == "" || !errors.Is(err, cause) {
			t.Errorf("%v: no hint, or the cause is lost", cause)
		}
	}
	if err := errors.New("disk full"); !errors.Is(withRestoreHint(err), err) || withRestoreHint(err).Error() != "disk full" {
		t.Error("an error without advice was changed")
	}
}

func TestUpstreams(t *testing.T) {
	got := upstreams([]string{"192.0.2.53", "[2001:db8::53]:5353"})
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:5353")}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCredentialIsOneLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for content, want := range map[string]string{"secret\n": "secret", "secret\r\n": "secret", " se cret": " se cret"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := credential(file); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", content, got, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := credential(file); err == nil || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("an empty file: %v, want an error that says so", err)
	}
	if got, err := credential(""); got != "" || err != nil {
		t.Errorf("no file: got %q, %v; want nothing", got, err)
	}
}
