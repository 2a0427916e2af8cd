// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
)

// leaks are the lines of a text that name the cluster's host namespace, or an
// object as the host does.
func (c *cluster) leaks(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, "-x-") || strings.Contains(line, c.namespace) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// saysNothingOfTheHost fails if a text has a name of the host's side.
func (c *cluster) saysNothingOfTheHost(t *testing.T, what, text string) {
	t.Helper()
	if found := c.leaks(text); len(found) > 0 {
		t.Errorf("%s names the host's side:\n%s", what, strings.Join(found, "\n"))
	}
}

// The kubelet serves the downward API, and knows the host pod only. Its values
// are the virtual pod's, also when that changes.
func TestPodsReadAboutThemselves(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("claim.yaml")
	k.run("create", "serviceaccount", "builder")
	k.apply("mirror.yaml")
	k.waitFor("condition=Ready", "pod/mirror")

	said := strings.Split(k.run("exec", "mirror", "--", "env"), "\n")
	ip, node := k.field("pod/mirror", "{.status.podIP}"), k.field("pod/mirror", "{.status.hostIP}")
	uid := k.field("pod/mirror", "{.metadata.uid}")
	for _, want := range []string{
		"NAME=mirror", "NAMESPACE=" + k.namespace, "POD_UID=" + uid, "LABEL=first", "ANNOTATION=from the tenant",
		"NODE=" + k.field("pod/mirror", "{.spec.nodeName}"), "ACCOUNT=builder", "POD_IP=" + ip, "POD_IPS=" + ip, "HOST_IP=" + node, "HOST_IPS=" + node,
		"CPU=500", "MEMORY=16777216", "EXPANDED=" + k.namespace + "/mirror", "HOSTNAME=mirror",
	} {
		if !slices.Contains(said, want) {
			t.Errorf("environment without %s: %q", want, said)
		}
	}
	for file, want := range map[string]string{
		"name": "mirror", "namespace": k.namespace, "uid": uid, "labels": "app=\"mirror\"\ntier=\"first\"", "label": "first", "annotation": "from the tenant", "cpu": "500",
	} {
		for _, volume := range []string{"volume", "projected"} {
			if got := k.run("exec", "mirror", "--", "cat", "/"+volume+"/"+file); got != want {
				t.Errorf("%s/%s is %q, want %q", volume, file, got, want)
			}
		}
	}
	if got := k.run("exec", "mirror", "--", "cat", "/volume/annotations"); !strings.Contains(got, "note=\"from the tenant\"") || strings.Contains(got, "portico.dev/") {
		t.Errorf("annotations: %s", got)
	}

	// The host pod has more variables, before these: indexes are the tenant's.
	k.run("patch", "pod/mirror", "--type=json", "-p", `[
		{"op":"test","path":"/spec/containers/0/env/0/name","value":"NAME"},
		{"op":"test","path":"/spec/volumes/0/name","value":"scratch"},
		{"op":"test","path":"/metadata/labels","value":{"app":"mirror","tier":"first"}},
		{"op":"add","path":"/metadata/annotations/patched","value":"yes"}]`)

	t.Run("and find nothing of the host", func(t *testing.T) { nothingOfTheHostWithin(k.with(t), c) })
	t.Run("and see changes", func(t *testing.T) {
		k := k.with(t)
		k.run("label", "pod/mirror", "tier=second", "--overwrite")
		k.run("annotate", "pod/mirror", "note=changed", "--overwrite")
		const want = "second|changed|app=\"mirror\"\ntier=\"second\""
		eventually(t, "changed labels and annotations", func() (bool, string) {
			r := k.try("", "exec", "mirror", "--", "sh", "-c", "cd /projected; cat label; echo -n '|'; cat annotation; echo -n '|'; cat labels")
			return r.stdout == want, r.String()
		})
	})
}

// nothingOfTheHostWithin looks through all that a container can read about
// where it is. Only the kernel reveals something: a volume of a local
// provisioner is a directory of the node, named by that provisioner.
func nothingOfTheHostWithin(k kubectl, c *cluster) {
	for what, command := range map[string]string{
		"the environment":   "env; cat /proc/*/environ | tr '\\0' '\\n'",
		"the command lines": "cat /proc/*/cmdline | tr '\\0' ' '",
		"a file of /etc":    "cat /etc/hosts /etc/hostname /etc/resolv.conf; hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname",
		"the account":       "cd /var/run/secrets/kubernetes.io/serviceaccount; ls -laR .; cat namespace; for i in 1 2; do cut -d. -f$i token | tr _- /+ | base64 -d 2>/dev/null; done; base64 -d < ca.crt 2>/dev/null; true",
		"a volume":          "ls -laR /volume /projected /settings /scratch /data; cat /volume/* /projected/* /settings/one",
		"a cgroup":          "cat /proc/self/cgroup",
		"the end":           "cat /dev/termination-log",
		"a device":          "ls -la /dev",
	} {
		c.saysNothingOfTheHost(k.t, what, k.run("exec", "mirror", "--", "sh", "-c", command))
	}
	for _, line := range c.leaks(k.run("exec", "mirror", "--", "cat", "/proc/self/mountinfo")) {
		if fields := strings.Fields(line); len(fields) < 5 || fields[4] != "/data" {
			k.t.Errorf("a mount names the host's side: %s", line)
		}
	}
	c.saysNothingOfTheHost(k.t, "kubectl describe", k.run("describe", "pod/mirror", "pvc/data"))
	c.saysNothingOfTheHost(k.t, "kubectl get", k.run("get", "pod/mirror", "pvc/data", "-o", "yaml"))
}

// The kubelet reports faults on a node in the host's names; the tenant reads
// virtual ones.
func TestFailuresAreToldInVirtualNames(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	k.apply("broken.yaml")
	for pod, condition := range map[string]string{
		"crash":    "{.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
		"nohook":   "{.status.containerStatuses[0].lastState.terminated.reason}=Error",
		"unwell":   "{.status.containerStatuses[0].lastState.terminated.reason}=Error",
		"nokey":    "{.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
		"nosecret": "{.status.containerStatuses[0].state.waiting.reason}=CreateContainerConfigError",
		"noclaim":  `{.status.conditions[?(@.type=="PodScheduled")].reason}=Unschedulable`,
	} {
		k.waitFor("jsonpath="+condition, "pod/"+pod)
	}
	for pod, want := range map[string]string{"crash": "BackOff", "nohook": "FailedPostStartHook", "unwell": "Unhealthy", "nomount": "FailedMount", "noclaim": "FailedScheduling"} {
		eventually(t, "event "+want+" of "+pod, func() (bool, string) {
			reasons := k.run("get", "events", "--field-selector=involvedObject.name="+pod, "-o", "jsonpath={.items[*].reason}")
			return slices.Contains(strings.Fields(reasons), want), reasons
		})
	}
	for path, want := range map[string]string{
		"pod/nokey":    "couldn't find key nokey in ConfigMap " + k.namespace + "/settings",
		"pod/nosecret": `secret "absent" not found`,
	} {
		// The kubelet tries again and again, and first when the ConfigMap is
		// not there yet.
		eventually(t, path+" says "+want, func() (bool, string) {
			got := k.field(path, "{.status.containerStatuses[0].state.waiting.message}")
			return got == want, got
		})
	}
	if got, want := k.field("pod/crash", "{.status.containerStatuses[0].lastState.terminated.message}"), "crash\ntold by crash"; got != want {
		t.Errorf("the last words are %q, want %q", got, want)
	}
	// A kubelet has just removed the container before when it starts the next one.
	eventually(t, "the log of the container before", func() (bool, string) {
		r := k.try("", "logs", "crash", "--previous")
		return strings.TrimSpace(r.stdout) == "crash\ntold by crash", r.String()
	})
	for _, command := range []string{
		"logs nosecret", "logs nomount", "logs nosuch", "logs crash -c nosuch", "exec nomount -- true", "exec nosuch -- true", "attach nomount", "attach nosecret",
		"port-forward nomount :80", "cp nomount:/a /dev/null",
	} {
		c.saysNothingOfTheHost(t, "kubectl "+command, k.refused(strings.Fields(command)...))
	}
	c.saysNothingOfTheHost(t, "kubectl describe", k.run("describe", "pods"))
	c.saysNothingOfTheHost(t, "kubectl get events", k.run("get", "events", "-o", "yaml"))
	c.saysNothingOfTheHost(t, "kubectl get pods", k.run("get", "pods", "-o", "yaml"))
}

// The door warns of a pod, and then the host, which sees more in it: the tenant
// reads of its own fields, and once.
func TestWarningsAreToldOnce(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	r := k.try("", "apply", "-f", "testdata/untidy.yaml")
	if r.err != nil {
		t.Fatal(r)
	}
	said := strings.Split(r.stderr, "\n")
	slices.Sort(said)
	want := []string{
		`Warning: spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply`,
		`Warning: spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]`,
		`Warning: spec.hostAliases[1].ip: duplicate ip "10.0.0.1"`,
	}
	if !slices.Equal(said, want) {
		t.Errorf("the tenant reads %q, want %q", said, want)
	}
}
