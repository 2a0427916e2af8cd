// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package marks_test

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"portico.dev/portico/rewrite/marks"
)

func TestRestOf(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	text := at.Format(time.RFC3339)
	for name, c := range map[string]struct {
		annotations map[string]string
		replicas    int32
		want        marks.Rest
	}{
		"runs":                      {nil, 1, marks.Rest{}},
		"scaled down by somebody":   {nil, 0, marks.Rest{}},
		"sleeps":                    {map[string]string{marks.AnnotationSleeping: text, marks.AnnotationWakeAt: text}, 0, marks.Rest{Sleeping: at, WakeAt: at}},
		"scaled up in its sleep":    {map[string]string{marks.AnnotationSleeping: text, marks.AnnotationWakeAt: text}, 1, marks.Rest{}},
		"paused":                    {map[string]string{marks.AnnotationPaused: "true"}, 0, marks.Rest{Paused: true}},
		"paused in its sleep":       {map[string]string{marks.AnnotationPaused: "true", marks.AnnotationSleeping: text}, 0, marks.Rest{Paused: true}},
		"woken":                     {map[string]string{marks.AnnotationWoken: text + " connection"}, 1, marks.Rest{Woken: at, WokenBy: "connection"}},
		"marks that say no time":    {map[string]string{marks.AnnotationSleeping: "yes", marks.AnnotationWoken: ""}, 0, marks.Rest{}},
		"a wake-up that is no time": {map[string]string{marks.AnnotationSleeping: text, marks.AnnotationWakeAt: "soon"}, 0, marks.Rest{Sleeping: at}},
	} {
		if d := cmp.Diff(c.want, marks.RestOf(c.annotations, c.replicas)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// A workload that comes back has a replica, whatever its note says.
func TestReplicasToGoBackTo(t *testing.T) {
	for note, want := range map[string]int32{"": 1, "3": 3, "0": 1, "-2": 1, "many": 1, "99999999999": 1} {
		if got := marks.Replicas(map[string]string{marks.AnnotationReplicas: note}); got != want {
			t.Errorf("note %q: %d replicas, want %d", note, got, want)
		}
	}
}

func TestLastActivity(t *testing.T) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, user := range []string{"ann", "x at 2001-01-01T00:00:00Z", ""} {
		if who, when := marks.LastActivity(map[string]string{marks.AnnotationLastActivity: marks.ActivityText(user, at)}); who != user || !when.Equal(at) {
			t.Errorf("%q: %q at %s", user, who, when)
		}
	}
	if who, when := marks.LastActivity(map[string]string{marks.AnnotationLastActivity: "ann at noon"}); who != "" || !when.IsZero() {
		t.Errorf("a text without a time: %q, %s", who, when)
	}
}

// merged applies a merge patch to annotations, and returns the replicas in it.
func merged(t *testing.T, annotations map[string]string, patch []byte, version string) (map[string]string, *int32) {
	t.Helper()
	var p struct {
		Metadata struct {
			ResourceVersion string             `json:"resourceVersion"`
			Annotations     map[string]*string `json:"annotations"`
		} `json:"metadata"`
		Spec struct {
			Replicas *int32 `json:"replicas"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		t.Fatal(err)
	}
	if p.Metadata.ResourceVersion != version {
		t.Errorf("the patch is for version %q, want %q", p.Metadata.ResourceVersion, version)
	}
	after := maps.Clone(annotations)
	for k, v := range p.Metadata.Annotations {
		if v == nil {
			delete(after, k)
		} else {
			after[k] = *v
		}
	}
	return after, p.Spec.Replicas
}

func TestPatchesOfSleep(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	patch, err := marks.SleepPatch("7", 3, now, now.Add(time.Hour), "ann at 2030-01-02T03:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	asleep, replicas := merged(t, map[string]string{"team": "a", marks.AnnotationSleepRequested: "x"}, patch, "7")
	if d := cmp.Diff(map[string]string{
		"team": "a", marks.AnnotationSleeping: "2030-01-02T03:04:05Z", marks.AnnotationWakeAt: "2030-01-02T04:04:05Z",
		marks.AnnotationReplicas: "3", marks.AnnotationLastActivity: "ann at 2030-01-02T03:00:00Z",
	}, asleep); d != "" || replicas == nil || *replicas != 0 {
		t.Errorf("asleep, replicas %v (-want +got):\n%s", replicas, d)
	}
	if patch, err = marks.WakePatch("8", asleep, now, marks.WokenByHand); err != nil {
		t.Fatal(err)
	}
	awake, replicas := merged(t, asleep, patch, "8")
	if d := cmp.Diff(map[string]string{
		"team": "a", marks.AnnotationLastActivity: "ann at 2030-01-02T03:00:00Z", marks.AnnotationWoken: "2030-01-02T03:04:05Z hand",
	}, awake); d != "" || replicas == nil || *replicas != 3 {
		t.Errorf("awake, replicas %v (-want +got):\n%s", replicas, d)
	}
	if patch, err = marks.AwakePatch("9", awake); patch != nil || err != nil {
		t.Errorf("nothing to take off, and yet: %s, %v", patch, err)
	}
	asked := map[string]string{marks.AnnotationSleepRequested: "2030-01-02T03:04:05Z"}
	if patch, err = marks.AwakePatch("9", asked); patch != nil || err != nil {
		t.Errorf("a request is taken off before its answer: %s, %v", patch, err)
	}
	if patch, err = marks.AwakePatch("9", asleep); err != nil {
		t.Fatal(err)
	}
	after, replicas := merged(t, asleep, patch, "9")
	if after[marks.AnnotationSleeping] != "" || after[marks.AnnotationWakeAt] != "" || replicas != nil {
		t.Errorf("scaled up by hand: %v, replicas %v", after, replicas)
	}
}
