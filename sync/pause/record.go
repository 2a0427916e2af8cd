// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package pause

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"portico.dev/portico/rewrite"
)

const (
	// composedPaused is the purpose of a record.
	composedPaused = "paused"
	// recordSuffix has a character that is in no pod's host name, so that no
	// tenant's Secret has the name of a record.
	recordSuffix = ".paused"
	recordKey    = "pod.json.gz"
	// maxRecord bounds an unpacked record. A host takes no larger request.
	maxRecord = 8 << 20
)

// writeDown keeps a pod in a Secret, because its environment may be secret. The
// anchor that owns the pod owns the record.
func (c Cluster) writeDown(ctx context.Context, pod *corev1.Pod) error {
	packed, err := pack(again(pod))
	if err != nil {
		return fmt.Errorf("write pod %s down: %w", pod.Name, err)
	}
	record := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name + recordSuffix, Namespace: c.Namespace,
			Labels:          labels.Set{rewrite.LabelCluster: c.Name, rewrite.LabelComposed: composedPaused},
			OwnerReferences: pod.OwnerReferences,
		},
		Data: map[string][]byte{recordKey: packed},
	}
	secrets := c.Host.CoreV1().Secrets(c.Namespace)
	_, err = secrets.Create(ctx, record, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var was *corev1.Secret
		if was, err = secrets.Get(ctx, record.Name, metav1.GetOptions{}); err == nil {
			// From a call that was cut off, or that Resume could not use.
			was.Data, was.Labels, was.OwnerReferences = record.Data, record.Labels, record.OwnerReferences
			_, err = secrets.Update(ctx, was, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("write pod %s down: %w", pod.Name, err)
	}
	return nil
}

func (c Cluster) records(ctx context.Context) ([]corev1.Secret, error) {
	selector := labels.Set{rewrite.LabelCluster: c.Name, rewrite.LabelComposed: composedPaused}.String()
	list, err := c.Host.CoreV1().Secrets(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of virtual cluster %s that were written down: %w", c.Name, err)
	}
	return list.Items, nil
}

// recordOf finds the record of a pod.
func recordOf(pod *corev1.Pod) func(corev1.Secret) bool {
	return func(s corev1.Secret) bool { return s.Name == pod.Name+recordSuffix }
}

func (c Cluster) forget(ctx context.Context, record *corev1.Secret) error {
	err := c.Host.CoreV1().Secrets(c.Namespace).Delete(ctx, record.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(record.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// again returns the pod that makes pod again: as its author and the host's
// admission made it, without the changes since.
func again(pod *corev1.Pod) *corev1.Pod {
	p := pod.DeepCopy()
	p.ObjectMeta = metav1.ObjectMeta{
		Name: p.Name, GenerateName: p.GenerateName, Namespace: p.Namespace,
		Labels: p.Labels, Annotations: p.Annotations, Finalizers: p.Finalizers,
	}
	p.Status = corev1.PodStatus{}
	if !authorChoseNode(pod) {
		p.Spec.NodeName = ""
	}
	// Pods are not created with any.
	p.Spec.EphemeralContainers = nil
	return p
}

// authorChoseNode reports whether the pod was created with a node. A scheduler's
// binding leaves no trace in managedFields.
func authorChoseNode(pod *corev1.Pod) bool {
	for _, entry := range pod.ManagedFields {
		if entry.FieldsV1 == nil || entry.Subresource != "" {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, ok := fields.Spec["f:nodeName"]; ok {
			return true
		}
	}
	return false
}

func pack(pod *corev1.Pod) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if err := json.NewEncoder(w).Encode(pod); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

func read(record *corev1.Secret) (*corev1.Pod, error) {
	r, err := gzip.NewReader(bytes.NewReader(record.Data[recordKey]))
	if err != nil {
		return nil, fmt.Errorf("unpack Secret %s: %w", record.Name, err)
	}
	pod := &corev1.Pod{}
	if err := json.NewDecoder(io.LimitReader(r, maxRecord)).Decode(pod); err != nil {
		return nil, fmt.Errorf("unpack Secret %s: %w", record.Name, err)
	}
	return pod, nil
}
