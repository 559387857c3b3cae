# Hubbub. `make help` lists the targets.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
SOURCES  := $(shell find . \( -name '*.go' -o -name '*.lua' \) -not -path './e2e/*') $(shell find server/web schema/migrations -type f) go.mod go.sum

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Those whose tests need no server: all but two.
PACKAGES     = $(shell $(GO) list ./... | grep -v -e '/e2e/' -e '/internal/backends$$')
FUZZTIME    ?= 20000x

.PHONY: help run build check test prerequisites race engines fuzz backends databases e2e bench autobahn services services-down cluster cluster-down licenses vulncheck clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: bin/hubbub ## the server alone, on :8000, data in ./data
	bin/hubbub serve

build: bin/hubbub bin/loadgen ## bin/hubbub and bin/loadgen, static

bin/hubbub bin/loadgen: $(SOURCES)
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ ./$(if $(filter bin/hubbub,$@),server,loadgen)

check: ## the fast inner loop: format, vet, staticcheck, builds for all systems, unit tests; needs Go alone
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	GO=$(GO) ./scripts/cross
	GO=$(GO) ./scripts/licenses --check
	$(GO) test $(TESTFLAGS) -timeout 900s $(PACKAGES)

test: TESTFLAGS = -count=1
test: DATABASES = --quick mysql vitess
test: ENGINES = --quick
test: prerequisites check race engines fuzz backends databases e2e ## everything, nothing of it from a cache of results

prerequisites: ## the servers that tests need: Redis, MariaDB, Kafka, nginx; at once where they are
	./scripts/install-services

race: ## the tests again, with the race detector
	$(GO) test -race -count=1 -timeout 1500s $(PACKAGES)

engines: build ## the suites on the second event engine, nbio
	GO=$(GO) ./scripts/engines $(ENGINES)

fuzz: ## every decoder, FUZZTIME each: calls (20000x), or a time (10s)
	./scripts/fuzz $(FUZZTIME)

backends: ## what starts the servers for the tests
	$(GO) test -count=1 -timeout 900s ./internal/backends

databases: ## the database's tests on MariaDB, real MySQL 9 and Vitess, nodes and kill -9 included
	GO=$(GO) ./scripts/databases $(DATABASES)

e2e: build ## from outside, against the binary: nodes behind nginx, the real SDKs, a real browser
	HUBBUB_BIN=$(CURDIR)/bin/hubbub $(GO) test -count=1 -timeout 1800s ./e2e/cluster
	HUBBUB_BIN=$(CURDIR)/bin/hubbub $(GO) -C e2e/go test -count=1 -timeout 900s ./...
	HUBBUB_BIN=$(CURDIR)/bin/hubbub ./e2e/run
	HUBBUB_BIN=$(CURDIR)/bin/hubbub ./e2e/python/run

bench: build ## Go benchmarks and loadgen scenarios, with a table at the end
	./scripts/bench

services: ## real Redis, Kafka, MariaDB and nginx on loopback; prints the settings to use
	./scripts/services up

services-down: ## stop them; their data stay in ./data/services
	./scripts/services down

cluster: bin/hubbub ## three nodes, two writers and nginx on these; prints the addresses
	./scripts/cluster up

cluster-down: ## stop nodes, writers and services
	./scripts/cluster down
	./scripts/services down

autobahn: build ## the Autobahn conformance suite against /echo, where it can be had
	./scripts/autobahn

licenses: ## docs/licenses.md: what the binaries are made of
	GO=$(GO) ./scripts/licenses

vulncheck: ## govulncheck, where its database can be reached
	GO=$(GO) ./scripts/vulncheck

clean:
	rm -rf bin
