// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// ReplaceCustom reads the sync.custom of a piece of portico.yaml, or of a values
// file of the chart, in the place of that of c. Other keys of the piece are
// ignored.
func ReplaceCustom(c *Config, piece []byte) error {
	var top struct {
		Sync struct {
			Custom any `json:"custom"`
		} `json:"sync"`
	}
	if err := yaml.Unmarshal(piece, &top); err != nil {
		return err
	}
	if top.Sync.Custom == nil {
		return errors.New("it has no sync.custom")
	}
	raw, err := yaml.Marshal(top.Sync.Custom)
	if err != nil {
		return err
	}
	var kinds []Custom
	if err := yaml.UnmarshalStrict(raw, &kinds); err != nil {
		return fmt.Errorf("sync.custom: %w", err)
	}
	c.Sync.Custom = kinds
	return c.validateCustom(field.NewPath("sync", "custom")).ToAggregate()
}
