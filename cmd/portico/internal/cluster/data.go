// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

// labelEtcd is on the objects of the etcd that the chart installs for a
// cluster.
const labelEtcd = rewrite.Prefix + "etcd"

// Data returns the names of the claims with the data of a cluster: those that
// its StatefulSets made, which nothing but their name and labels ties to it.
// Claims of tenants are never among them: theirs have the label of a namespace.
func Data(ctx context.Context, client kubernetes.Interface, namespace, name string) ([]string, error) {
	claims, err := client.CoreV1().PersistentVolumeClaims(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the claims of %s: %w", name, err)
	}
	form := regexp.MustCompile("^data-" + regexp.QuoteMeta(name) + "(-etcd)?-[0-9]+$")
	var found []string
	for _, claim := range claims.Items {
		if form.MatchString(claim.Name) && ownData(claim, name) && claim.DeletionTimestamp == nil {
			found = append(found, claim.Name)
		}
	}
	return found, nil
}

func ownData(claim corev1.PersistentVolumeClaim, name string) bool {
	if _, tenants := claim.Labels[rewrite.LabelNamespace]; tenants {
		return false
	}
	return claim.Labels[door.LabelDoor] == name || claim.Labels[labelEtcd] == name
}

// DeleteData deletes claims.
func DeleteData(ctx context.Context, client kubernetes.Interface, namespace string, claims []string) error {
	for _, claim := range claims {
		err := client.CoreV1().PersistentVolumeClaims(namespace).Delete(ctx, claim, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete the claim %s/%s: %w", namespace, claim, err)
		}
	}
	return nil
}
