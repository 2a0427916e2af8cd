// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	apiToken   = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	vaultToken = "/var/run/secrets/other/for/vault"
)

// claims are those of a service account token (KEP-1205).
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	Bound    struct {
		Namespace string `json:"namespace"`
		Pod       struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

func (c claims) life() time.Duration { return time.Duration(c.Expires-c.IssuedAt) * time.Second }

// tokenIn reads a token from inside a container.
func tokenIn(k kubectl, path string) (token string, c claims) {
	k.t.Helper()
	token = k.run("exec", "holder", "--", "cat", path)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		k.t.Fatalf("%s holds no token", path)
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		k.t.Fatalf("%s: %v", path, err)
	}
	return token, c
}

func startHolder(k kubectl) {
	k.t.Helper()
	k.apply("accounts.yaml")
	k.waitFor("condition=Ready", "pod/holder")
}

func TestTokensInAPodAreAsAskedFor(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	startHolder(k)
	uid := k.field("pod/holder", "{.metadata.uid}")
	issuer := k.run("get", "--raw", "/.well-known/openid-configuration")
	for path, want := range map[string]struct {
		audience string
		life     time.Duration
	}{
		apiToken:   {"https://kubernetes.default.svc.cluster.local", 10 * time.Minute},
		vaultToken: {"vault", 20 * time.Minute},
	} {
		token, c := tokenIn(k, path)
		if !slices.Equal(c.Audience, []string{want.audience}) || c.life() != want.life {
			t.Errorf("%s is for %v and lives %v, want %s and %v", path, c.Audience, c.life(), want.audience, want.life)
		}
		if c.Bound.Namespace != k.namespace || c.Bound.Pod.Name != "holder" || c.Bound.Pod.UID != uid {
			t.Errorf("%s is bound to %+v, want pod holder with uid %s", path, c.Bound, uid)
		}
		if !strings.Contains(issuer, `"issuer":"`+c.Issuer+`"`) {
			t.Errorf("%s is of issuer %s; discovery says %s", path, c.Issuer, issuer)
		}
		reviewed := review(k, token, want.audience)
		if !reviewed.Authenticated || reviewed.User.Username != "system:serviceaccount:"+k.namespace+":caller" ||
			!slices.Equal(reviewed.User.Extra["authentication.kubernetes.io/pod-uid"], []string{uid}) {
			t.Errorf("review of %s: %+v", path, reviewed)
		}
		if reviewed := review(k, token, "somebody-else"); reviewed.Authenticated {
			t.Errorf("%s passes for an audience that it is not for", path)
		}
	}
	// A token for another audience opens nothing here.
	token, _ := tokenIn(k, vaultToken)
	if out := as(k, token).refused("auth", "whoami"); !unauthorized(out) {
		t.Errorf("token for vault at the API: %s", out)
	}
}

type reviewStatus struct {
	Authenticated bool `json:"authenticated"`
	User          struct {
		Username string              `json:"username"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
}

func review(k kubectl, token, audience string) reviewStatus {
	k.t.Helper()
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
		"spec": map[string]any{"token": token, "audiences": []string{audience}},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	r := k.try(string(body), "create", "-o", "json", "-f", "-")
	var answer struct {
		Status reviewStatus `json:"status"`
	}
	if r.err == nil {
		r.err = json.Unmarshal([]byte(r.stdout), &answer)
	}
	if r.err != nil {
		k.t.Fatalf("review a token: %v", r)
	}
	return answer.Status
}

// as is kubectl with a token in the place of the administrator's certificate.
func as(k kubectl, token string) kubectl {
	k.t.Helper()
	path := k.t.TempDir() + "/kubeconfig"
	if err := withToken(k.kubeconfig, path, token); err != nil {
		k.t.Fatal(err)
	}
	k.kubeconfig = path
	return k
}

func unauthorized(said string) bool {
	return strings.Contains(said, "logged in") || strings.Contains(said, "Unauthorized")
}

func TestTokenDiesWithItsPod(t *testing.T) {
	t.Parallel()
	k, c := shared(t)
	startHolder(k)
	token, _ := tokenIn(k, apiToken)
	thief := as(k, token)
	if who := thief.run("auth", "whoami"); !strings.Contains(who, "system:serviceaccount:"+k.namespace+":caller") {
		t.Fatalf("the token is for %s", who)
	}
	k.run("delete", "pod", "holder")
	// Upstream remembers a token that it has checked for ten seconds.
	eventually(t, "end of the token", func() (bool, string) {
		r := thief.try("", "auth", "whoami")
		return r.err != nil && unauthorized(r.stderr), r.String()
	})
	eventually(t, "end of the host's copy", func() (bool, string) {
		left := c.host(t).names("secrets", "-l", "portico.dev/namespace="+k.namespace+",portico.dev/composed=token")
		return len(left) == 0, fmt.Sprint(left)
	})
}

// A token of ten minutes is renewed after eight, and the program in the pod
// goes on without noticing.
func TestTokenIsRotatedInARunningPod(t *testing.T) {
	t.Parallel()
	k, _ := shared(t)
	startHolder(k)
	_, first := tokenIn(k, apiToken)
	var second claims
	eventuallyWithin(t, first.life(), "new token in the pod", func() (bool, string) {
		_, second = tokenIn(k, apiToken)
		return second.IssuedAt != first.IssuedAt, fmt.Sprintf("%+v", second)
	})
	if age := second.IssuedAt - first.IssuedAt; age < 480 || age >= 600 {
		t.Errorf("a token of 600 s was renewed after %d s, want 480 or a little more", age)
	}
	// client-go reads its token file again every minute.
	header := regexp.MustCompile(`authz_header=\S+`)
	eventually(t, "client with the new token", func() (bool, string) {
		used := header.FindAllString(k.run("logs", "holder"), -1)
		slices.Sort(used)
		return len(slices.Compact(used)) > 1, fmt.Sprint(used)
	})
	if log := k.run("logs", "holder"); strings.Contains(log, "status=failed") {
		t.Errorf("a call of the program in the pod failed:\n%s", log)
	}
	if restarts := k.field("pod/holder", "{.status.containerStatuses[0].restartCount}"); restarts != "0" {
		t.Errorf("the container was started again %s times", restarts)
	}
}
