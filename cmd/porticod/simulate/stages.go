// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	_ "embed"
	"fmt"

	"sigs.k8s.io/kwok/kustomize/stage/node/fast"
	heartbeat "sigs.k8s.io/kwok/kustomize/stage/node/heartbeat-with-lease"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	kwokv1alpha1 "sigs.k8s.io/kwok/pkg/apis/v1alpha1"
	"sigs.k8s.io/yaml"
)

//go:embed stages/pod-complete-job.yaml
var podCompleteJob string

// stages returns the stages to play, by the kind they are about.
//
// kwok's pod-complete is not among them: it looks for an owner of kind Job, and
// pod-complete-job covers the same pods by their label.
func stages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	byKind := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, text := range []string{
		fast.DefaultNodeInit,
		heartbeat.DefaultNodeHeartbeatWithLease,
		podfast.DefaultPodReady,
		podfast.DefaultPodDelete,
		podCompleteJob,
	} {
		stage, err := parseStage(text)
		if err != nil {
			return nil, err
		}
		ref := stage.Spec.ResourceRef
		byKind[ref] = append(byKind[ref], stage)
	}
	return byKind, nil
}

func parseStage(text string) (*internalversion.Stage, error) {
	versioned := &kwokv1alpha1.Stage{}
	if err := yaml.UnmarshalStrict([]byte(text), versioned); err != nil {
		return nil, fmt.Errorf("parse stage: %w", err)
	}
	kwokv1alpha1.SetObjectDefaults_Stage(versioned)
	stage, err := internalversion.ConvertToInternalStage(versioned)
	if err != nil {
		return nil, fmt.Errorf("convert stage %q: %w", versioned.Name, err)
	}
	return stage, nil
}
