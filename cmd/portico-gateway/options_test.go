// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"portico.dev/portico/proxy/gateway"
)

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "",
		"--domain gw.example":      "",
		"--domain a.x --domain b":  "",
		"--namespace a,b":          "",
		"--connect":                "--connect needs",
		"--connect-without-tls":    "are for --connect",
		"--tls-cert-file a":        "go together",
		"--connect --tls-key-file": "flag needs an argument",
		"--connect --tls-cert-file a --tls-key-file b": "",
		"--connect --connect-without-tls":              "",
		"--domain *.gw.example":                        "not a DNS name",
		"--namespace a.b":                              "not the name of a namespace",
		"--max-connections 0":                          "at least 1",
		"--idle-timeout 1s":                            "at least 1m",
		"--wake --wake-timeout 20s":                    "",
		"--wake-timeout 1ms":                           "at least 1s",
		"--drain -1s":                                  "at least 0",
		"serve":                                        "unexpected argument",
	} {
		_, err := parse(strings.Fields(args))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
	o, err := parse(nil)
	if err != nil || o.connect || o.limits != gateway.DefaultLimits || o.timeouts != gateway.DefaultTimeouts || o.drain != time.Minute {
		t.Errorf("without flags: %+v, %v", o, err)
	}
}
