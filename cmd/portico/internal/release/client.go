// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"log/slog"

	"helm.sh/helm/v4/pkg/action"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/kube"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"
	"k8s.io/cli-runtime/pkg/genericclioptions"
)

// Release is a record of Helm's.
type Release = release.Release

// Client works on the releases of one host namespace.
type Client struct {
	Config    *action.Configuration
	Chart     *chart.Chart
	Namespace string
	// Say shows a line to a person.
	Say func(format string, args ...any)
}

// Open returns a client that keeps its records where the helm program does, in
// Secrets of the namespace.
func Open(getter genericclioptions.RESTClientGetter, namespace string, c *chart.Chart, log slog.Handler) (*Client, error) {
	// The fields of objects belong to the same manager whichever program it was.
	kube.ManagedFieldsManager = "helm"
	config := action.NewConfiguration(action.ConfigurationSetLogger(log))
	if err := config.Init(getter, namespace, "secret"); err != nil {
		return nil, fmt.Errorf("open Helm: %w", err)
	}
	return &Client{Config: config, Chart: c, Namespace: namespace, Say: func(string, ...any) {}}, nil
}

// History returns the records of a release, the newest last, or none.
func (c *Client) History(name string) ([]*Release, error) {
	records, err := c.Config.Releases.History(name)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the Helm release %s/%s: %w", c.Namespace, name, err)
	}
	var history []*Release
	for _, r := range records {
		if one, ok := r.(*Release); ok {
			history = append(history, one)
		}
	}
	sortByVersion(history)
	return history, nil
}

// Deployed returns the newest record of a history that was deployed as a whole.
func Deployed(history []*Release) *Release {
	for i := len(history) - 1; i >= 0; i-- {
		if s := history[i].Info.Status; s == common.StatusDeployed || s == common.StatusSuperseded {
			return history[i]
		}
	}
	return nil
}

func last(history []*Release) *Release {
	if len(history) == 0 {
		return nil
	}
	return history[len(history)-1]
}
