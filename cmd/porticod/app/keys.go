// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"portico.dev/portico/certs"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/sync/authorities"
)

// shareCredentials keeps the authorities of the cluster's clients on the host,
// for every kind of store: so they can be rotated whether the cluster runs or
// not.
func (vc *virtualCluster) shareCredentials(ctx context.Context, offer func() (certs.Credentials, error)) (func() certs.Credentials, error) {
	first, err := door.EnsureCredentials(ctx, vc.hostClient, vc.translator, offer)
	if err != nil {
		return nil, err
	}
	vc.keys, err = door.NewKeys(vc.hostClient, vc.translator, first, vc.accessURL(), nil)
	if err != nil {
		return nil, err
	}
	return vc.keys.Credentials, nil
}

// inHost is the name at which pods of the host find the door.
func (vc *virtualCluster) inHost() string {
	return vc.config.Host.ServiceName + "." + vc.config.Host.Namespace + ".svc"
}

// accessURL is where programs on the host reach the door: at the configured
// address, or through the cluster's own Service. The Service of a porticod that
// listens on loopback leads nowhere, and only its own machine reaches it.
func (vc *virtualCluster) accessURL() string {
	switch o := vc.doorOptions(vc.at); {
	case vc.config.Host.AdvertiseAddress != "":
		return "https://" + vc.at.String()
	case vc.config.Host.Kubeconfig != "" && !o.Advertise.IsValid():
		return "https://" + vc.at.String()
	default:
		return "https://" + vc.inHost()
	}
}

// keysPart follows the credentials on the host in every replica, and keeps them
// and the administrator's kubeconfig there.
func (c *composition) keysPart() (part, error) {
	return part{
		always:  c.keys.Observe,
		leading: func(ctx context.Context) error { return c.keys.Run(ctx, c.lead.host, c.pki) },
	}, nil
}

// authoritiesPart has aggregated API servers forget revoked authorities.
func (c *composition) authoritiesPart() (part, error) {
	return part{leading: func(ctx context.Context) error {
		return authorities.Run(ctx, authorities.Config{Virtual: c.lead.virtual, Keep: func(list []byte) ([]byte, <-chan struct{}) {
			b, changed := c.pki.Current()
			return b.Keep(list), changed
		}})
	}}, nil
}

// keepRoots puts the keys that replicas share back on the host: a replica that
// started without them would make others, and nobody would trust it.
func (vc *virtualCluster) keepRoots(ctx context.Context) error {
	_, err := door.EnsureRoots(ctx, vc.hostClient, vc.translator, func() (certs.Roots, error) {
		own, err := certs.LoadRoots(filepath.Join(vc.config.DataDir, pkiDir), time.Now)
		if own == nil && err == nil {
			err = errors.New("this replica has no keys of the cluster in its data directory")
		}
		return own, err
	})
	return err
}
