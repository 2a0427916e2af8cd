#!/bin/sh
# Copyright The Portico Authors
# SPDX-License-Identifier: Apache-2.0
#
# bench/run.sh [FLAG ...]: all measurements in one run; see bench/doc.go for flags.
#
# The lab's API server (make lab-up) is the etcd-backed one that own-kind writes
# are measured against. Without a running lab that row says "not measured".
set -eu
cd "$(dirname "$0")/.."

lab_kubeconfig=${LAB_DIR:-${TMPDIR:-/tmp}/lab}/admin.conf
if [ -r "$lab_kubeconfig" ]; then
	set -- --etcd-kubeconfig "$lab_kubeconfig" "$@"
else
	echo "no lab is running (make lab-up), so there is no etcd to compare with" >&2
fi
exec go run -trimpath ./bench "$@"
