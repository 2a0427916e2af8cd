// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"portico.dev/portico/certs"
	"portico.dev/portico/cmd/porticod/config"
	"portico.dev/portico/proxy/door"
	"portico.dev/portico/rewrite"
)

func newRotate(s Streams) *cobra.Command {
	var loader *config.Loader
	var patience time.Duration
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Revoke the certificates of a cluster's administrator, and issue a new one",
		Long: `Revoke all certificates of the administrator of a virtual cluster, and issue a
new one. All kubeconfigs that porticod wrote before are refused from then on: a
porticod that serves takes the change at once, one that does not with its next
start. Either writes the new kubeconfig, to kubeconfigPath and to the Secret
pc-NAME on the host.

Tokens of ServiceAccounts and certificates that tenants requested stay valid.
Those of a cluster that was made before there was an authority for each of these
purposes are revoked too.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loader.Load()
			if err != nil {
				return &usageError{withHint(err, "docs/configuration.md explains each key")}
			}
			return rotate(c.Context(), s, cfg, patience)
		},
	}
	loader = config.NewLoader(c.Flags(), os.LookupEnv)
	c.Flags().DurationVar(&patience, "wait", 0, "how long to wait until the Secret pc-NAME has the new kubeconfig; 0 for not at all")
	return c
}

func rotate(ctx context.Context, s Streams, cfg *config.Config, patience time.Duration) error {
	hostConfig, err := hostClientConfig(cfg)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(hostConfig)
	if err != nil {
		return fmt.Errorf("host client: %w", err)
	}
	rotated, err := door.Rotate(ctx, client, cfg.Host.Namespace, cfg.Name, time.Now)
	if errors.Is(err, door.ErrNoCredentials) {
		return withHint(err, "a start of this version of porticod makes them; check name and host.namespace, too")
	}
	if err != nil {
		return err
	}
	name := rewrite.AccessSecretName(cfg.Name)
	fmt.Fprintf(s.Err, "The certificates of the administrator of %s are revoked.\n", cfg.Name)
	if patience == 0 {
		return nil
	}
	err = wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		secret, err := client.CoreV1().Secrets(cfg.Host.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && rotated.Administers(certs.KeyPair{CertPEM: secret.Data[door.AccessCertificate], KeyPEM: secret.Data[door.AccessKey]}, time.Now), nil
	})
	if err != nil {
		return withHint(fmt.Errorf("wait for the new kubeconfig in host Secret %s/%s: %w", cfg.Host.Namespace, name, err),
			"the rotation is done; porticod writes the kubeconfig when it serves")
	}
	fmt.Fprintf(s.Err, "The new kubeconfig is in the host Secret %s/%s.\n", cfg.Host.Namespace, name)
	return nil
}
