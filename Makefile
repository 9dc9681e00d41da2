# What people and CI run. `make` alone lists it.
FUZZTIME ?= 10s
export FUZZTIME

# staticcheck with all its checks but two kinds: the spelling of names (ST1003: BROADCAST and MsgId are the
# specification's) and the first word of comments (ST1020 to ST1022).
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks 'all,-ST1003,-ST1020,-ST1021,-ST1022'

# The modules below the root (they have dependencies that users of the library should not get), and all of them.
NESTED  := $(patsubst %/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path '*/testdata/*'))
MODULES := . $(NESTED)

# $(call each,MODULES,COMMAND) runs COMMAND in each of the modules and stops at the first failure.
each = @set -e; for m in $(1); do (set -x; cd $$m; $(2)); done

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing of pkg-config and libzmq
	@scripts/setup.sh

demo: setup ## servers in processes of their own send, get killed, come back (5 s)
	@go build -buildvcs=false -o bin/demo ./examples/demo
	@bin/demo

demo-secure: setup ## the same with keys, and a stranger who is not let in
	@go build -buildvcs=false -o bin/demo ./examples/demo
	@cd cmd/cluster && go build -buildvcs=false -o ../../bin/cluster .
	@scripts/demo-secure.sh

test: ## every test of every module
	@scripts/setup.sh python
	$(call each,$(MODULES),go test ./...)

race: setup ## every test again, in another order, under the race detector
	$(call each,$(MODULES),go test -race -shuffle=on -count=1 ./...)

race-long: setup ## the same 20 times over (up to 90 min)
	go test -race -shuffle=on -count=20 -timeout 90m ./...

poller: setup ## the tests of the data path with ZeroMQ's own poller, which serves where Go's cannot
	go test -tags zmqpoller ./internal/transport/zmq
	go test -tags zmqpoller -run 'TestContract/(tcp|ipc)' ./clustertest

fuzz: setup ## each fuzz target for 5 minutes (about an hour and a quarter)
	$(call each,$(MODULES),FUZZTIME=5m $(CURDIR)/scripts/fuzz.sh)

fuzz-short: setup ## each fuzz target for FUZZTIME (10s)
	$(call each,$(MODULES),$(CURDIR)/scripts/fuzz.sh)

fmt: ## fail if gofmt would change something
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "gofmt -w these:"; echo "$$bad"; exit 1; }

vet: setup ## go vet
	$(call each,$(MODULES),go vet ./...)

lint: setup ## staticcheck
	$(call each,$(MODULES),$(STATICCHECK) ./...)

tidy: ## fail if go mod tidy would change something
	$(call each,$(MODULES),go mod tidy -diff)

build: setup ## build every package and command of every module
	$(call each,$(MODULES),go build -o /dev/null ./...)

shell: ## check the scripts, where shellcheck is installed
	@! command -v shellcheck >/dev/null || shellcheck scripts/*.sh .ci/run

bench: setup ## the library beside others; renews docs/performance.md (18 min)
	@cd bench && go run . -command 'make bench' -write ../docs/performance.md

bench-quick: setup ## its headline, beside a bare ZeroMQ loop and plain TCP (2 min)
	@cd bench && go run . -quick -limit 4m

faults: setup ## break real clusters in every way; renews docs/reliability.md (15 min, root for all of it)
	@scripts/setup.sh faults
	@cd faults && go run . -command 'make faults' -write ../docs/reliability.md

faults-quick: setup ## the most important of it (under 2 min)
	@scripts/setup.sh faults
	@cd faults && go run . -quick -minutes 2

faults-long: setup ## servers killed every 5 s for 15 min in all, and a soak of 20 min (35 min)
	@scripts/setup.sh faults
	@cd faults && go run . -long -minutes 35 -only restart-one,restart-minority,restart-majority,soak \
		-command 'make faults-long' -write ../docs/reliability.md

faults-mutants: setup ## break the library one rule at a time, and see that the campaign notices (3 min)
	@cd faults && go run . -mutants -command 'make faults-mutants' -write ../docs/reliability.md

check: fmt build vet lint tidy shell poller fuzz-short race faults-quick demo demo-secure ## what .ci/run runs after the tests

.PHONY: help setup demo demo-secure test race race-long poller bench bench-quick faults faults-quick faults-long faults-mutants fuzz fuzz-short fmt vet lint tidy build shell check
