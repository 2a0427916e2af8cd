// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	"k8s.io/utils/clock"

	"portico.dev/portico/rewrite/marks"
)

// Audiences of tokens for the gateway. The host's API takes none of them.
const (
	// Audience is that of tokens of people: they wake a cluster that sleeps.
	Audience = marks.GatewayAudience
	// AudienceNoWake is that of tokens of programs that come again by themselves.
	AudienceNoWake = marks.GatewayAudienceNoWake
)

const (
	// remember is how long a token is believed that the host has reviewed.
	remember = 30 * time.Second
	// remembered is how many tokens are.
	remembered = 4096
	// reviewsPerSecond bound the work that strangers can cause the host.
	reviewsPerSecond = 20
	reviewBurst      = 100
	reviewLimit      = 10 * time.Second
	tokenLimit       = 6 << 10
)

// ErrBadToken is returned for a token that leads to no cluster.
var ErrBadToken = errors.New("the token leads to no cluster")

// errBusy is returned when too many tokens wait for their review.
var errBusy = errors.New("too many tokens to review")

// Tokens are those of host ServiceAccounts, one for each cluster. The host makes
// them, says how long they live, and forgets them with the account.
type Tokens struct {
	reviews authenticationclient.TokenReviewInterface
	rate    *rate.Limiter
	clock   clock.PassiveClock

	mu    sync.Mutex
	known map[[sha256.Size]byte]verdict
}

// Pass is where a token leads.
type Pass struct {
	Cluster types.NamespacedName
	// Wakes says that the cluster may be woken for it.
	Wakes bool
}

type verdict struct {
	pass  Pass
	until time.Time
}

// NewTokens returns a Reviewer that asks the host. A nil clock is the real one.
func NewTokens(reviews authenticationclient.TokenReviewInterface, c clock.PassiveClock) *Tokens {
	if c == nil {
		c = clock.RealClock{}
	}
	return &Tokens{reviews: reviews, rate: rate.NewLimiter(reviewsPerSecond, reviewBurst), clock: c, known: map[[sha256.Size]byte]verdict{}}
}

// Review returns where a token leads.
func (t *Tokens) Review(ctx context.Context, token string) (Pass, error) {
	if len(token) > tokenLimit || strings.Count(token, ".") != 2 {
		return Pass{}, ErrBadToken // no host issues such a token
	}
	key := sha256.Sum256([]byte(token))
	if v, ok := t.remembers(key); ok {
		return v, nil
	}
	if !t.rate.AllowN(t.clock.Now(), 1) {
		return Pass{}, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, reviewLimit)
	defer cancel()
	review, err := t.reviews.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience, AudienceNoWake}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Pass{}, fmt.Errorf("review a token: %w", err)
	}
	pass, ok := passOf(review.Status)
	if !ok {
		return Pass{}, ErrBadToken
	}
	t.learn(key, pass)
	return pass, nil
}

// passOf returns where a reviewed token leads. A host that knows no audiences
// answers without one, for a token that it would take itself. A token for both
// audiences is none: nobody could say whether it wakes.
func passOf(s authenticationv1.TokenReviewStatus) (Pass, bool) {
	if !s.Authenticated || len(s.Audiences) != 1 || s.Audiences[0] != Audience && s.Audiences[0] != AudienceNoWake {
		return Pass{}, false
	}
	account, ok := strings.CutPrefix(s.User.Username, "system:serviceaccount:")
	if !ok {
		return Pass{}, false
	}
	namespace, name, ok := strings.Cut(account, ":")
	name, ours := strings.CutSuffix(name, marks.GatewayAccountSuffix)
	if !ok || !ours || !isLabel(name) || !isLabel(namespace) {
		return Pass{}, false
	}
	return Pass{Cluster: types.NamespacedName{Namespace: namespace, Name: name}, Wakes: s.Audiences[0] == Audience}, true
}

func (t *Tokens) remembers(key [sha256.Size]byte) (Pass, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.known[key]
	return v.pass, ok && t.clock.Now().Before(v.until)
}

// learn keeps a good token. Bad ones take no memory.
func (t *Tokens) learn(key [sha256.Size]byte, pass Pass) {
	now := t.clock.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= remembered {
		for k, v := range t.known {
			if !now.Before(v.until) {
				delete(t.known, k)
			}
		}
	}
	if len(t.known) < remembered {
		t.known[key] = verdict{pass, now.Add(remember)}
	}
}
