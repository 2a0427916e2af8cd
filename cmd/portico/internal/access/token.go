// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// longest is the life of a token for which none is named.
const longest = 10 * 365 * 24 * time.Hour

// ServiceAccount is one in the virtual cluster, whose token a person wants.
type ServiceAccount struct {
	Name        string // NAMESPACE/NAME, or NAME in kube-system
	ClusterRole string // with the rights that it gets; empty to leave its rights alone
	Life        time.Duration
}

// Token makes a token of a service account, which is made if it is not there.
func Token(ctx context.Context, virtual kubernetes.Interface, s ServiceAccount) (string, error) {
	namespace, name, ok := strings.Cut(s.Name, "/")
	if !ok {
		namespace, name = metav1.NamespaceSystem, s.Name
	}
	accounts := virtual.CoreV1().ServiceAccounts(namespace)
	_, err := accounts.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return "", fmt.Errorf("create the service account %s/%s in the virtual cluster: %w", namespace, name, err)
	}
	if s.ClusterRole != "" {
		if err := bind(ctx, virtual, namespace, name, s.ClusterRole); err != nil {
			return "", err
		}
	}
	life := s.Life
	if life == 0 {
		life = longest
	}
	seconds := int64(life.Seconds())
	answer, err := accounts.CreateToken(ctx, name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("make a token of the service account %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, nil
}

// bind gives a ClusterRole to a service account. A binding of the name that
// gives something else is not touched: its role cannot be changed.
func bind(ctx context.Context, virtual kubernetes.Interface, namespace, name, role string) error {
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: strings.Join([]string{"portico", namespace, name, role}, ":")},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
	_, err := virtual.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("bind the ClusterRole %s in the virtual cluster: %w", role, err)
	}
	return nil
}
