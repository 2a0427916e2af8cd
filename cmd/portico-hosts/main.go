// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

// Command portico-hosts writes the full name of a pod into a copy of its
// /etc/hosts. It is the init container that package rewrite gives to pods with a
// subdomain (rewrite/etchosts.go).
//
//	POD_IPS=10.0.0.7,fd00::7 portico-hosts /etc/hosts /shared/hosts web-0.web.demo.svc.cluster.local web-0
//
// It is a program of its own, and not a part of porticod, because it runs in the
// tenant's pod, within the memory of the tenant's container: it uses the
// standard library, and little of it.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Getenv("POD_IPS")); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string, podIPs string) error {
	if len(args) != 4 {
		return fmt.Errorf("want FROM TO FULLNAME HOSTNAME, got %d arguments", len(args))
	}
	from, to, fullName, hostname := args[0], args[1], args[2], args[3]
	hosts, err := os.ReadFile(from) //nolint:gosec // A path of the pod, which rewrite has put there.
	if err != nil {
		return err
	}
	addresses := strings.FieldsFunc(podIPs, func(r rune) bool { return r == ',' })
	return replace(to, withFullName(string(hosts), addresses, fullName, hostname))
}

// withFullName gives the lines of the pod's addresses the form that a kubelet
// writes where the pod has a subdomain (k8s.io/kubernetes/pkg/kubelet,
// managedHostsFileContent). An address without such a line gets one at the end.
func withFullName(hosts string, addresses []string, fullName, hostname string) string {
	line := func(address string) string { return address + "\t" + fullName + "\t" + hostname + "\n" }
	ours := func(name string) bool { return name == hostname || name == fullName }
	missing := slices.Clone(addresses)
	var out strings.Builder
	for l := range strings.Lines(hosts) {
		fields := strings.Fields(l)
		if len(fields) > 1 && slices.Contains(addresses, fields[0]) && !slices.ContainsFunc(fields[1:], func(n string) bool { return !ours(n) }) {
			l = line(fields[0])
			missing = slices.DeleteFunc(missing, func(a string) bool { return a == fields[0] })
		}
		out.WriteString(l)
	}
	if s := out.String(); len(missing) > 0 && s != "" && !strings.HasSuffix(s, "\n") {
		out.WriteString("\n")
	}
	for _, address := range missing {
		out.WriteString(line(address))
	}
	return out.String()
}

// replace writes a file that everybody can read, as a kubelet's is, and puts it
// in the place of another at once.
func replace(path, content string) error {
	next := path + ".new"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil { //nolint:gosec // As above.
		return err
	}
	if err := os.Chmod(next, 0o644); err != nil { //nolint:gosec // All users in the pod read it, with any umask.
		return err
	}
	return os.Rename(next, path) //nolint:gosec // As above.
}
