// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Defaults of Options.
const (
	DefaultRetention    = 5 * time.Minute
	DefaultStartTimeout = 20 * time.Second
)

// How a connection is kept and, after a failure, made again. An outage of etcd
// may be long; the end of it should be noticed soon.
const (
	keepAliveTime    = 30 * time.Second // as kube-apiserver
	keepAliveTimeout = 10 * time.Second
	maxReconnect     = 2 * time.Second
	connectTimeout   = 5 * time.Second
)

// Options say where an etcd is and which part of it is ours.
type Options struct {
	// Endpoints are the members' client addresses, each host:port.
	Endpoints []string
	// TLS is how members are verified, and how we are known to them. Nil means
	// connections without TLS.
	TLS *tls.Config
	// Username and Password are for an etcd with authentication switched on.
	Username string
	Password string
	// Prefix is before every key of the virtual cluster. It begins with a slash
	// and does not end with one.
	Prefix string
	// Retention is how long history is kept for reads and watches in the past;
	// DefaultRetention if 0. Negative turns compaction off.
	Retention time.Duration
	// CompactionKey is the key by which the processes of a cluster take turns to
	// compact. By default it is below Prefix.
	CompactionKey string
	// StartTimeout is how long Open waits for an etcd that answers;
	// DefaultStartTimeout if 0.
	StartTimeout time.Duration
	// Dial, if set, makes the connections, for an etcd in this process.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Endpoints) == 0 {
		return o, errors.New("etcd has no endpoints")
	}
	if !strings.HasPrefix(o.Prefix, "/") || strings.HasSuffix(o.Prefix, "/") {
		return o, fmt.Errorf("prefix %q does not begin, or ends, with a slash", o.Prefix)
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	if o.CompactionKey == "" {
		o.CompactionKey = o.Prefix + compactionKey
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	return o, nil
}

// client is the configuration of etcd's client. Its own log repeats every
// failed attempt; the important ones are in the errors and in Ready.
func (o Options) client() clientv3.Config {
	scheme := "http://"
	if o.TLS != nil {
		scheme = "https://"
	}
	c := clientv3.Config{
		DialTimeout:          o.StartTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		TLS:                  o.TLS,
		Username:             o.Username,
		Password:             o.Password,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect},
			MinConnectTimeout: connectTimeout,
		})},
	}
	if o.Dial != nil {
		c.DialOptions = append(c.DialOptions, grpc.WithContextDialer(o.Dial))
	}
	if o.TLS != nil && o.TLS.ServerName != "" {
		// The client would verify the name in the endpoint and nothing else.
		c.DialOptions = append(c.DialOptions, grpc.WithAuthority(o.TLS.ServerName))
	}
	for _, e := range o.Endpoints {
		c.Endpoints = append(c.Endpoints, scheme+e)
	}
	return c
}
