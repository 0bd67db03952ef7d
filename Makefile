# `make` or `make help` lists what there is.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LINT    := go tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help
.PHONY: help build run demo test nightly bench lint fmt gen verify clean

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
	@if command -v gcc >/dev/null; then race="-race"; export CGO_ENABLED=1; fi; \
		set -x; go test $$race -timeout 45m ./...

nightly: ## Run the long form of the tests of failures: 1,000 kills per database, long random sequences
	@.ci/packages
	RATEBOOK_NIGHTLY=1 go test -timeout 6h -v -run 'TestCrash|TestStalledWorkers|TestDatabaseRestart|TestMostlyFaultySource|TestFullDisk|TestTaskCrash' ./e2e
	go test -timeout 6h -v -rapid.checks 2000 -run TestRandomSequences ./store

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
