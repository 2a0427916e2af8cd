// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/cmd/portico/internal/output"
	"portico.dev/portico/rewrite"
	"portico.dev/portico/sync/pause"
)

const (
	// dataVolume is the volume of a porticod that keeps its data in a claim, and
	// tmpVolume its room for temporary files.
	dataVolume = "data"
	tmpVolume  = "tmp"
	// composedRestore is the purpose of the pod that replaces the data.
	composedRestore = "restore"
)

// BeginRestore takes note of how a cluster is before its data are replaced, unless
// an earlier call did, and ends its control plane. Its pods run on. It reports
// whether the cluster was paused.
func BeginRestore(ctx context.Context, client kubernetes.Interface, c *Cluster, report func(string)) (paused bool, err error) {
	set, err := client.AppsV1().StatefulSets(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("get the StatefulSet %s/%s: %w", c.Namespace, c.Name, err)
	}
	was, noted := set.Annotations[pause.AnnotationRestoring]
	if !noted {
		was = string(c.State)
		if err := controlPlane(client, c).Mark(ctx, pause.AnnotationRestoring, was); err != nil {
			return false, err
		}
	}
	return was == string(Paused), pause.Cluster{Host: client, Namespace: c.Namespace, Name: c.Name, Report: report}.Stop(ctx)
}

// EndRestore starts a cluster again, or leaves it paused if it was. One that slept
// runs then.
func EndRestore(ctx context.Context, client kubernetes.Interface, c *Cluster, paused bool) error {
	if paused {
		return controlPlane(client, c).Mark(ctx, pause.AnnotationRestoring, nil)
	}
	return controlPlane(client, c).Start(ctx)
}

// RestorePod returns the pod that replaces the data of a cluster with a snapshot
// from its standard input. It is a porticod of the same image and with the same
// security settings as the cluster's own, with no rights on the host, and without
// the label that would make it a door.
func RestorePod(ctx context.Context, client kubernetes.Interface, c *Cluster, dataDir string, limit time.Duration) (*corev1.Pod, error) {
	if err := c.stoppable("restored"); err != nil {
		return nil, err
	}
	set, err := client.AppsV1().StatefulSets(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get the StatefulSet %s/%s: %w", c.Namespace, c.Name, err)
	}
	template := set.Spec.Template.Spec.DeepCopy()
	i := slices.IndexFunc(template.Containers, func(ctr corev1.Container) bool { return ctr.Name == Container })
	if i < 0 {
		return nil, fmt.Errorf("the StatefulSet %s/%s has no container %s", c.Namespace, c.Name, Container)
	}
	if !slices.ContainsFunc(set.Spec.VolumeClaimTemplates, func(t corev1.PersistentVolumeClaim) bool { return t.Name == dataVolume }) {
		return nil, output.WithHint(fmt.Errorf("virtual cluster %s has no claim for its data, which go with its pod", c.Name),
			"create it with controlPlane.persistence.enabled, which is the default")
	}
	porticod, no, seconds := template.Containers[i], false, int64(limit.Seconds())+1
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: c.Name + "-restore",
			Labels: map[string]string{rewrite.LabelCluster: c.Name, rewrite.LabelComposed: composedRestore},
			// It goes with the cluster.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: StatefulSet, Name: set.Name, UID: set.UID}},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: Container, Image: porticod.Image, ImagePullPolicy: porticod.ImagePullPolicy,
				Args:  []string{"snapshot", "restore", "--replace", "-", dataDir},
				Stdin: true, StdinOnce: true, // A stream that is cut off ends the command.
				Resources: porticod.Resources, SecurityContext: porticod.SecurityContext,
				VolumeMounts: []corev1.VolumeMount{{Name: dataVolume, MountPath: dataDir}, {Name: tmpVolume, MountPath: "/tmp"}},
				// The reason of a failure is then in the pod's status.
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
			}},
			Volumes: []corev1.Volume{
				{Name: dataVolume, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
					ClaimName: fmt.Sprintf("%s-%s-0", dataVolume, c.Name),
				}}},
				{Name: tmpVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: &seconds,
			AutomountServiceAccountToken: &no, EnableServiceLinks: &no, ServiceAccountName: template.ServiceAccountName,
			ImagePullSecrets: template.ImagePullSecrets, SecurityContext: template.SecurityContext, PriorityClassName: template.PriorityClassName,
			NodeSelector: template.NodeSelector, Tolerations: template.Tolerations, Affinity: template.Affinity,
		},
	}, nil
}

// RemovePod deletes a pod and reports whether it is gone.
func RemovePod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod) (gone bool, err error) {
	err = client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete the pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return false, nil
}
