# `make` or `make help` lists what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LINT    := go tool -modfile=tools/go.mod golangci-lint

# SQLite, C translated to Go, is ten times slower under the race detector, which knows nothing of the memory that it keeps
# outside Go's. Its driver, and all that use it, are watched.
SQLITE := $(foreach p,sqlite/lib libc memory,-gcflags=modernc.org/$(p)=-race=false)

.DEFAULT_GOAL := help
.PHONY: help build run demo test fuzz nightly nightly-crash nightly-tasks nightly-failures nightly-sequences nightly-fuzz bench lint fmt gen verify clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/ratebook as the Dockerfile does
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X ratebook/app.version=$(VERSION)" -o bin/ratebook .

run: ## Serve, with a SQLite file in the user's data folder
	go run . serve

demo: ## Show sample usage and its costs in a throwaway database
	go run . demo

test: ## Run all tests; as root or with CI=true it first installs the Debian packages they need
	@.ci/packages
	go vet ./...
	@if command -v gcc >/dev/null; then race='-race $(SQLITE)'; export CGO_ENABLED=1; fi; \
		set -x; go test $$race -timeout 30m $$(go list ./... | grep -v /e2e$$) && go test -timeout 30m ./e2e # which tests a program of its own

FUZZTIME := 30s
fuzz: ## Send the API what nobody would, for FUZZTIME (30s) each: it must never answer 500
	for api in v1 v2; do for target in FuzzBody FuzzQuery; do \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./handlers/api/$$api || exit 1; done; done

nightly: nightly-crash nightly-tasks nightly-failures nightly-sequences nightly-fuzz ## Run the long form of the tests of failures: 1,000 kills per database, 200 random sequences, 10 minutes of each fuzz target

# one after another: each alone has both cores for what it counts on
.NOTPARALLEL: nightly
NIGHTLY := RATEBOOK_NIGHTLY=1 go test -count 1 -timeout 3h -v -run

nightly-crash:
	@.ci/packages
	$(NIGHTLY) '^TestCrash$$' ./e2e
nightly-tasks:
	@.ci/packages
	$(NIGHTLY) '^TestTaskCrash$$' ./e2e
nightly-failures:
	@.ci/packages
	$(NIGHTLY) '^(TestStalledWorkers|TestDatabaseRestart|TestMostlyFaultySource|TestFullDisk)$$' ./e2e
nightly-sequences:
	@.ci/packages
	$(NIGHTLY) '^TestRandomSequences$$' ./store -rapid.checks 200

nightly-fuzz:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=10m

bench: ## Measure what docs/performance.md states
	@.ci/packages
	go test -run '^$$' -bench . -benchmem -timeout 30m ./money ./rating ./rollup ./jobs ./store
	RATEBOOK_BENCH=1 go test -run '^TestBench' -v -timeout 30m ./e2e

lint: ## Run the linters, formatting included
	go tool templ fmt -fail -log-level error views
	$(LINT) run

fmt: ## Format the source
	go tool templ fmt -log-level error views
	$(LINT) fmt

gen: ## Make the generated files again
	go generate ./...

verify: ## Check that generated files, go.mod and go.sum are current and the modules are what they were
	@was=$$(git status --porcelain; git diff); $(MAKE) --no-print-directory gen; \
		[ "$$was" = "$$(git status --porcelain; git diff)" ] || { git status --short; echo "make gen changed files: commit them"; exit 1; }
	go mod tidy -diff
	go mod verify

clean: ## Remove what was built
	rm -rf bin
