# Conductor. `make demo` runs the main job, `make test` passes the tests; both install what they need.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build unit test apiserver e2e e2e-long gauntlet corpus natural natural-up bench demo demo-binary demo-modules verify generate lint fuzz mutation deps cluster-up cluster-down cluster-status

GO ?= go
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
# How Conductor and what the demo needs are compiled: what they have in common once, and without what only debuggers read.
LEAN := -trimpath -gcflags=all=-dwarf=false
RUN ?= .
FUZZTIME ?= 1m
# The parts of the gauntlet that need no cluster: the model of concurrency and the pressure of GitHub's limits.
GAUNTLET ?= ^TestModel|^TestPressure
MUTATE ?= trigger report junit result
CLUSTER_TOOL = CGO_ENABLED=0 $(GO) -C test/cluster run $(LEAN) .

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

build: ## the binary, in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/conductor ./cmd/conductor

unit: ## quick tests; no cluster
	$(GO) test ./cmd/... ./internal/... ./test/house/... ./test/corpus/... ./test/natural/...

deps: ## what the tests need of Debian and npm
	@test/deps.sh

test: deps ## every test but the long ones: unit, contract, API server, end to end
	$(GO) test ./cmd/... ./internal/... ./test/house/... ./test/corpus/... ./test/natural/... ./test/github/...
	$(GO) -C test/cluster test ./...
	$(MAKE) --no-print-directory cluster-up
	eval "$$($(CLUSTER_TOOL) env)" && $(GO) test -count=1 -timeout 20m -tags apiserver ./test/apiserver
	eval "$$($(CLUSTER_TOOL) env)" && $(GO) test -count=1 -timeout 10m -tags apiserver ./test/gauntlet
	$(GO) test -count=1 -timeout 40m -tags e2e ./test/e2e

apiserver: cluster-up ## the controllers against a real API server, without a kubelet; RUN=Regexp picks
	eval "$$($(CLUSTER_TOOL) env)" && $(GO) test -count=1 -v -timeout 20m -tags apiserver -run '$(RUN)' ./test/apiserver

e2e: deps cluster-up ## end to end on the cluster; RUN=Regexp picks; RUN=Hostile: hostile repositories beside a normal one
	$(GO) test -count=1 -v -timeout 60m -tags 'e2e$(if $(findstring Hostile,$(RUN)), hostile)' -run '$(RUN)' ./test/e2e

e2e-long: deps cluster-up ## the long forms: a second cluster, killed half-way, an existing cluster
	$(GO) -C test/cluster test -count=1 -v -timeout 10m -tags cluster .
	eval "$$($(CLUSTER_TOOL) env)" && $(GO) test -count=1 -v -timeout 15m -tags 'apiserver long' -run '$(RUN)' ./test/apiserver
	$(GO) test -count=1 -v -timeout 60m -tags 'e2e long' -run '$(RUN)' ./test/e2e

gauntlet: cluster-up ## killed and paused replicas, missed and copied deliveries, hostile senders; minutes; RUN=Regexp picks
	$(GO) test -count=1 -run '$(GAUNTLET)' ./internal/...
	eval "$$($(CLUSTER_TOOL) env)" && $(GO) test -count=1 -v -timeout 20m -tags 'apiserver gauntlet' -run '$(RUN)' ./test/gauntlet

corpus: deps cluster-up ## compose projects that are kept elsewhere: CORPUS=DIR; their objects on the API server, and those that can on the cluster
	@test -n '$(CORPUS)' || { echo 'name the directory of the projects: make corpus CORPUS=DIR'; exit 2; }
	eval "$$($(CLUSTER_TOOL) env)" && CORPUS='$(abspath $(CORPUS))' $(GO) test -count=1 -v -timeout 20m -tags apiserver -run TestObjectsAreTaken ./test/apiserver
	$(CLUSTER_TOOL) databases
	CORPUS='$(abspath $(CORPUS))' $(GO) test -count=1 -v -timeout 60m -tags 'e2e corpus' -run 'TestCorpusRuns/$(RUN)' ./test/e2e

natural: ## plan and convert compared with verdicts on real projects: NATURAL=DIR is where these are kept; RUN=Regexp picks
	@test -n '$(NATURAL)' || { echo 'name the directory of the projects: make natural NATURAL=DIR'; exit 2; }
	NATURAL='$(abspath $(NATURAL))' $(GO) test -count=1 -v -tags natural -run 'TestVerdictsAreComposes|TestNatural/$(RUN)' ./test/natural

natural-up: deps cluster-up ## those of the same projects that can, on the cluster; NATURAL=DIR, RUN=Regexp picks
	@test -n '$(NATURAL)' || { echo 'name the directory of the projects: make natural-up NATURAL=DIR'; exit 2; }
	$(CLUSTER_TOOL) databases
	NATURAL='$(abspath $(NATURAL))' $(GO) test -count=1 -v -timeout 60m -tags 'e2e corpus natural' -run 'TestNaturalRuns/$(RUN)' ./test/e2e

bench: deps cluster-up ## what Conductor costs (docs/benchmarks.md); CORPUS=DIR also compares conversions with Kompose's
	$(GO) run ./test/bench $(BENCH)
	$(if $(CORPUS),$(GO) -C test/kompose run . -corpus '$(abspath $(CORPUS))')

demo: ## one run from a pushed tag to the comment; REPO=DIR is a repository of yours, SCENARIO=NAME one of examples/scenarios
	@echo "compiling the demo and Conductor (the first time about three minutes)"
	@$(MAKE) --no-print-directory -j3 deps demo-modules demo-binary # Mirrors are waited for while the compiler works.
	@bin/demo $(if $(REPO),-repo '$(REPO)') $(if $(SCENARIO),-scenario '$(SCENARIO)')

demo-binary: # with the flags of Conductor, to compile what both import once
	@CGO_ENABLED=0 $(GO) build $(LEAN) -o bin/demo ./test/demo

demo-modules: # what the cluster is compiled of; its optional parts are left until somebody asks for them
	@for p in kubernetes kaniko; do $(GO) -C test/cluster/parts/$$p list -deps tool ./... >/dev/null 2>&1 || true; done

fuzz: ## every fuzz test for FUZZTIME
	@set -e; $(GO) list ./internal/... ./test/github/... | while read -r p; do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x $$p; done; done

mutation: ## changes of the code that no test notices, after long; MUTATE='report trigger' picks packages
	@set -e; for p in $(MUTATE); do echo "$$p"; GOFLAGS='-vet=off -short -ldflags=-w' $(GO) run github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0 \
	  unleash ./internal/$$p --workers 2 --timeout-coefficient 30 --invert-logical --invert-loopctrl --invert-assignments \
	  --invert-bwassign --remove-self-assignments -S lctvr; done

generate: ## everything that is made from something else
	$(GO) tool controller-gen object paths=./internal/api/... crd:crdVersions=v1 output:crd:dir=charts/conductor/crds
	$(GO) generate ./internal/...
	$(GO) test ./test/house -run TestTheLinterHasTheLaw -update

lint: ## vet, format, imports
	$(GO) vet ./... && $(GO) vet -tags 'e2e long hostile corpus natural apiserver gauntlet faults' ./test/... ./internal/faults && $(GO) -C test/cluster vet -tags cluster ./... && $(GO) -C test/kompose vet ./...
	@test -z "$$(gofmt -l cmd internal test)" || { gofmt -l cmd internal test; echo "run gofmt -w"; exit 1; }
	$(GO) test ./test/house/...
	for os in darwin windows; do GOOS=$$os CGO_ENABLED=0 $(GO) vet ./cmd/conductor || exit 1; done # The commands for people run there, too.

verify: generate lint ## what is generated is fresh, what is written is clean
	@git diff --exit-code -- charts schemas docs internal examples .golangci.yaml || { echo "generated files are stale: commit what make generate wrote"; exit 1; }

cluster-up: ## a real Kubernetes on this machine
	$(CLUSTER_TOOL) up

cluster-down: ## end it
	$(CLUSTER_TOOL) down

cluster-status: ## how it stands
	$(CLUSTER_TOOL) status
