// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/rewrite"
)

// maxAge is the age at which a token is replaced even if it lives longer, as
// the kubelet does it.
const maxAge = 24 * time.Hour

// minted are the tokens of one pod.
type minted struct {
	data map[string][]byte // by key of the Secret
	// renewAt is when the first of them has used up 80 % of its life.
	renewAt time.Time
}

// mint asks the virtual API for every token that the pod's volumes project.
func mint(ctx context.Context, virtual kubernetes.Interface, pod *corev1.Pod, projections []rewrite.TokenProjection, now time.Time) (minted, error) {
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default" // as admission fills it in
	}
	result := minted{data: make(map[string][]byte, len(projections)), renewAt: now.Add(maxAge)}
	for _, p := range projections {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}
		if p.Audience != "" {
			request.Spec.Audiences = []string{p.Audience}
		}
		if p.ExpirationSeconds > 0 {
			request.Spec.ExpirationSeconds = &p.ExpirationSeconds
		}
		answer, err := virtual.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
		if err != nil {
			return minted{}, fmt.Errorf("request a token of service account %s/%s: %w", pod.Namespace, account, err)
		}
		result.data[p.Key] = []byte(answer.Status.Token)
		if at := renewal(now, answer.Status.ExpirationTimestamp.Time); at.Before(result.renewAt) {
			result.renewAt = at
		}
	}
	return result, nil
}

// renewal is the moment at which 80 % of a token's life is over.
func renewal(issued, expires time.Time) time.Time {
	return issued.Add(expires.Sub(issued) / 10 * 8)
}
