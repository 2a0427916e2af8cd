# Portico. `make` alone explains itself.
# Everything needs Go, gcc, make and git; targets that need more say so.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The API version that porticod serves is that of the Kubernetes it embeds.
KUBE_VERSION := $(shell sed -n 's/^require k8s.io\/kubernetes \(v[0-9.]*\).*/\1/p; s/^\tk8s.io\/kubernetes \(v[0-9.]*\)$$/\1/p' go.mod | head -n 1)
KUBE_MINOR   := $(word 2,$(subst ., ,$(KUBE_VERSION)))
VERSION_VARS := $(foreach p,k8s.io/component-base/version k8s.io/client-go/pkg/version,\
	-X $(p).gitVersion=$(KUBE_VERSION) -X $(p).gitMajor=1 -X $(p).gitMinor=$(KUBE_MINOR) -X $(p).gitTreeState=clean)

# One set of flags for build, test and the lab (test/lab/build), so that they
# share the build cache. netgo and osusergo keep the binary free of glibc's
# resolver, grpcnotrace lets the linker drop unused code.
TAGS     := netgo,osusergo,grpcnotrace,sqlite_omit_load_extension
GO       := CGO_ENABLED=1 GOFLAGS=-buildvcs=false go
GO_FLAGS := -trimpath -tags $(TAGS) -ldflags '-s -w $(VERSION_VARS)'

# HOST_KUBE=v1.35.4 makes the lab a host of that version, in a folder of its own.
LAB_DIR ?= $(or $(TMPDIR),/tmp)/lab$(addprefix -,$(HOST_KUBE))
export LAB_DIR HOST_KUBE

FOCUS    ?=
SKIP     ?=
PARALLEL ?= 6
HOST     ?= baseline
SCHEDULER ?= host
DEMO     ?=
BENCH    ?=
comma    := ,

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/porticod
	@echo "Building bin/porticod (the first build compiles Kubernetes: 10 minutes or more on two cores)"
	$(GO) build $(GO_FLAGS) -o bin/porticod ./cmd/porticod

# The command line tool, for the machines of people. Static, and without cgo.
CLI_PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
CLI_BUILD     := CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w $(VERSION_VARS)'

.PHONY: cli
cli: ## Build bin/portico, and bin/cli/portico-OS-ARCH for each of CLI_PLATFORMS
	$(CLI_BUILD) -o bin/portico ./cmd/portico
	$(foreach p,$(CLI_PLATFORMS),GOOS=$(firstword $(subst /, ,$p)) GOARCH=$(lastword $(subst /, ,$p)) \
		$(CLI_BUILD) -o bin/cli/portico-$(subst /,-,$p)$(if $(findstring windows,$p),.exe) ./cmd/portico &&) true

.PHONY: demo
demo: build ## Run a virtual cluster on an embedded host (DEMO=once ends by itself)
	bin/porticod demo $(if $(filter once,$(DEMO)),--once)

.PHONY: test
test: ## Run all unit and integration tests
	$(GO) test $(GO_FLAGS) -timeout 40m ./...
	@test/servers/installed || echo "NOT TESTED: PostgreSQL or MariaDB is not installed. As root: test/servers/install"

UI_SHOTS ?=
.PHONY: ui-browser
ui-browser: ## Look at the pages of portico ui in headless Chromium (UI_SHOTS=DIRECTORY keeps pictures)
	UI_SHOTS=$(abspath $(UI_SHOTS)) $(GO) test -trimpath -tags browser -count 1 -run 'Browser' ./cmd/portico/internal/ui

.PHONY: race
race: ## Run the tests of concurrent code with the race detector
	$(GO) test -race $(GO_FLAGS) -timeout 30m ./certs/... ./store/... ./proxy/host/... ./proxy/internal/... ./proxy/dns/... ./proxy/nodeproxy/... ./proxy/revocation ./proxy/door \
		$$($(GO) list ./sync/... | grep -v /sync/controllers) # which is upstream's code

.PHONY: robustness
robustness: ## Kill the store KILLS times (default 500) and judge every answer
	$(GO) test $(GO_FLAGS) -count 1 -v -timeout 24h -run 'TestKills' ./store/robustness -kills $(or $(KILLS),500) $(if $(SEED),-seed $(SEED))

.PHONY: upstream-storage
upstream-storage: ## Run the internal tests of upstream's etcd3 and cacher on our store
	test/upstream/storage

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (default 1m)
	@set -e; for p in ./rewrite ./test/laws; do for t in $$($(GO) test $(GO_FLAGS) -list '^Fuzz' $$p | grep ^Fuzz); do \
		$(GO) test $(GO_FLAGS) -run '^$$' -fuzz "^$$t$$" -fuzztime $(or $(FUZZTIME),1m) $$p; \
	done; done

.PHONY: lint
lint: bin/golangci-lint ## Check formatting and run the linters of .golangci.yml
	@test -z "$$(gofmt -s -l $$(git ls-files '*.go'))" || { gofmt -s -d $$(git ls-files '*.go'); exit 1; }
	$(GO) vet -trimpath -tags $(TAGS),e2e,browser ./...
	$(foreach os,windows darwin,GOOS=$(os) CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath ./cmd/portico/... &&) true
	CGO_ENABLED=1 GOFLAGS='-buildvcs=false -trimpath' bin/golangci-lint run --build-tags $(TAGS),e2e,browser --timeout 20m ./...

bin/golangci-lint: test/tools/go.mod
	cd test/tools && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: prose
prose: ## Count the turns of phrase that CONTRIBUTING.md rules out, by package
	@$(GO) run ./test/prose

.PHONY: lab-build
lab-build: ## Build the real host cluster's programs and images (root)
	test/lab/build
	test/lab/images

.PHONY: lab-up
lab-up: ## Start the real host cluster (root; builds it the first time; HOST_KUBE=v1.35.4)
	test/lab/ensure

.PHONY: lab-down
lab-down: ## Stop the real host cluster
	test/lab/down

.PHONY: e2e
e2e: build image image-before lab-up ## Test with a real kubectl against a real kubelet (root)
	$(CLI_BUILD) -o bin/portico ./cmd/portico
	PORTICOD=$(CURDIR)/bin/porticod $(GO) test -tags $(TAGS),e2e -trimpath -count 1 -parallel 4 -timeout 40m ./test/e2e

.PHONY: hosts
hosts: ## Test on the API server of another version of Kubernetes (root; HOST_KUBE=v1.35.4)
	test/lab/build host-api
	HOST_APISERVER=$(LAB_DIR)/bin/kube-apiserver $(GO) test -trimpath -tags $(TAGS),hosts -ldflags '-s -w $(VERSION_VARS)' -count 1 -timeout 20m ./test/hosts

.PHONY: conformance
conformance: build image lab-up ## Run upstream's conformance tests against a virtual cluster (FOCUS= SKIP= PARALLEL= HOST=run SCHEDULER=inside)
	PORTICOD=$(CURDIR)/bin/porticod test/conformance --host '$(HOST)' --scheduler '$(SCHEDULER)' --focus '$(FOCUS)' --skip '$(SKIP)' --parallel $(PARALLEL)

.PHONY: bench
bench: build bin/bench ## Compare the door with its host, and write docs/bench (BENCH='-sections start,idle')
	bin/bench --porticod $(CURDIR)/bin/porticod --commit "$$(git describe --always --dirty)" --out docs/bench $(BENCH)

.PHONY: bench-profile
bench-profile: bin/bench ## The same with a CPU and a heap profile of each scenario in bin/profiles
	$(GO) build $(subst -tags $(TAGS),-tags $(TAGS)$(comma)profile,$(GO_FLAGS)) -o bin/porticod-profile ./cmd/porticod
	bin/bench --porticod $(CURDIR)/bin/porticod-profile --profiles $(CURDIR)/bin/profiles $(BENCH)

.PHONY: bench-compare
bench-compare: ## Compare with another commit (REF=main BENCH='-sections requests -clients 1')
	bench/against '$(or $(REF),$(error REF= is the commit to compare with))' $(or $(BENCH),-sections start$(comma)idle$(comma)requests -clients 1 -budget 10s)

# A guard against a dependency that brings its world along. Lower it when the file
# has become smaller.
SIZE_LIMIT := 157
.PHONY: size
size: build ## Check that bin/porticod has at most SIZE_LIMIT MB
	@size=$$(wc -c <bin/porticod); echo "bin/porticod: $$size bytes, limit $(SIZE_LIMIT) MB"; test $$size -le $(SIZE_LIMIT)000000

.PHONY: bin/bench
bin/bench:
	$(GO) build $(GO_FLAGS) -o $@ ./bench

bin/benchstat: test/tools/go.mod
	cd test/tools && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o ../../bin/benchstat golang.org/x/perf/cmd/benchstat

DENSITY ?= -clusters 100 -awake 10
.PHONY: bench-density
bench-density: build ## Measure many virtual clusters on one host, most of them asleep (DENSITY='-clusters 100 -awake 10')
	$(GO) run $(GO_FLAGS) ./bench/density -porticod $(CURDIR)/bin/porticod $(DENSITY)

SOAK ?= 1h
.PHONY: soak
soak: build ## Have virtual clusters sleep and wake every minute, with kills, and look for losses (SOAK=1h)
	$(GO) run $(GO_FLAGS) ./bench/density -porticod $(CURDIR)/bin/porticod -clusters 5 -awake 4 -soak $(SOAK)

BENCH_CREATE ?=
.PHONY: bench-create
bench-create: image lab-up ## Measure portico create to the first answer on the lab (root; BENCH_CREATE='--runs 10')
	$(CLI_BUILD) -o bin/portico ./cmd/portico
	for n in 1 2; do test/lab/node $$n ctr -n k8s.io images import --label io.cri-containerd.image=managed $(CURDIR)/$(IMAGE_TAR) >/dev/null; done
	$(GO) run $(GO_FLAGS) ./bench/create --portico bin/portico --kubectl $(LAB_DIR)/bin/kubectl --kubeconfig $(LAB_DIR)/admin.conf $(BENCH_CREATE)

BENCH_STORE ?=
.PHONY: bench-store
bench-store: build ## Compare the store with etcd and kine on this disk (BENCH_STORE=-short)
	cd test/lab/mod/etcd && CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -o $(CURDIR)/bin/etcd go.etcd.io/etcd/server/v3
	cd bench/store/kine && CGO_ENABLED=1 GOFLAGS=-buildvcs=false go build -trimpath -o $(CURDIR)/bin/kine github.com/k3s-io/kine
	$(GO) build $(GO_FLAGS) -o bin/bench-store ./bench/store
	bin/bench-store -etcd bin/etcd -kine bin/kine -porticod bin/porticod -plot docs/store-benchmark.svg $(BENCH_STORE)

# Statically linked, because nothing else is in the image. The user is not root.
IMAGE        ?= portico.dev/portico/porticod:dev
IMAGE_TAR    ?= bin/porticod-image.tar
# The store needs cgo: another architecture needs a compiler for it, such as
# Debian's gcc-aarch64-linux-gnu with libc6-dev-arm64-cross.
IMAGE_ARCH   ?= $(shell go env GOARCH)
IMAGE_DIR    := bin/image-$(IMAGE_ARCH)
IMAGE_ENV     = GOOS=linux GOARCH=$(IMAGE_ARCH) $(if $(filter $(IMAGE_ARCH),$(shell go env GOHOSTARCH)),,CC=$(CC_$(IMAGE_ARCH)))
CC_arm64     ?= aarch64-linux-gnu-gcc
CC_amd64     ?= x86_64-linux-gnu-gcc

# The same sources make the same bytes: nothing in the image has a time, an owner
# or a path of this machine.
.PHONY: image
image: ## Put the programs into bin/porticod-image.tar, an OCI archive, with its bill of materials
	rm -rf $(IMAGE_DIR) && mkdir -p $(IMAGE_DIR)
	$(IMAGE_ENV) $(GO) build -trimpath -tags $(TAGS) -ldflags '-s -w -linkmode external -extldflags -static $(VERSION_VARS)' -o $(IMAGE_DIR)/porticod ./cmd/porticod
	$(IMAGE_ENV) $(CLI_BUILD) -o $(IMAGE_DIR)/portico ./cmd/portico
	$(IMAGE_ENV) CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o $(IMAGE_DIR)/portico-hosts ./cmd/portico-hosts
	$(IMAGE_ENV) CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags '-s -w' -o $(IMAGE_DIR)/portico-gateway ./cmd/portico-gateway
	go -C test/tools run ./roots >$(IMAGE_DIR)/ca-certificates.crt
	go run ./test/image -ref $(IMAGE) -arch $(IMAGE_ARCH) -out $(IMAGE_TAR) -sbom $(IMAGE_TAR:.tar=.cdx.json) /porticod=$(IMAGE_DIR)/porticod \
		/portico=$(IMAGE_DIR)/portico /portico-hosts=$(IMAGE_DIR)/portico-hosts /portico-gateway=$(IMAGE_DIR)/portico-gateway /etc/ssl/certs/ca-certificates.crt=$(IMAGE_DIR)/ca-certificates.crt
	rm -rf $(IMAGE_DIR)

.PHONY: image-arm64
image-arm64: ## Cross-build the image for linux/arm64 (needs gcc-aarch64-linux-gnu; compiles Kubernetes)
	$(MAKE) image IMAGE_ARCH=arm64 IMAGE_TAR=bin/porticod-image-arm64.tar

# The second time from a copy of the tree: its path must not be in the image.
.PHONY: image-twice
image-twice: image ## Link and pack everything twice, at two places, and compare
	rm -rf bin/again && mkdir bin/again
	git ls-files -z | tar -c --null -T - | tar -x -C bin/again
	$(MAKE) -C bin/again image
	cmp bin/porticod-image.tar bin/again/bin/porticod-image.tar && cmp bin/porticod-image.cdx.json bin/again/bin/porticod-image.cdx.json
	rm -rf bin/again

# A clone without history upgrades to itself.
BEFORE ?= $(shell git rev-parse --quiet --verify HEAD^ || echo HEAD)
.PHONY: image-before
image-before: ## Build the image and the tool of the commit BEFORE, to upgrade from (default HEAD^)
	rm -rf bin/before && mkdir -p bin/before
	git archive $(BEFORE) | tar -x -C bin/before
	$(MAKE) -C bin/before image IMAGE=$(IMAGE:dev=before) IMAGE_TAR=$(CURDIR)/bin/porticod-before.tar
	cd bin/before && $(CLI_BUILD) -o $(CURDIR)/bin/portico-before ./cmd/portico
	rm -rf bin/before

.PHONY: tidy
tidy: ## Bring go.mod and go.sum in order
	$(GO) mod tidy

.PHONY: clean
clean: ## Remove the programs that were built here
	rm -rf bin
