# What people and CI run. `make` alone lists it.
FUZZTIME ?= 10s
export FUZZTIME

# The commit that bench-compare and compat set the working tree beside.
REV ?= HEAD

# What the servers of the fault campaign have: libzmq, go, or mixed.
TRANSPORT ?= libzmq

# staticcheck with all its checks but two kinds: the spelling of names (ST1003: BROADCAST and MsgId are the
# specification's) and the first word of comments (ST1020 to ST1022).
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -checks 'all,-ST1003,-ST1020,-ST1021,-ST1022'

# The modules below the root (they have dependencies that users of the library should not get; each has a go.work that
# joins it to the root), and all of them.
# Where cgo is off, bench and faults are left out: they set the library beside libzmq.
CGO     := $(shell go env CGO_ENABLED)
NESTED  := $(patsubst %/go.mod,%,$(shell find . -mindepth 2 -name go.mod -not -path '*/testdata/*'))
NESTED  := $(if $(filter 0,$(CGO)),$(filter-out ./bench ./faults,$(NESTED)),$(NESTED))
MODULES := . $(NESTED)

# What the library and its command are built for without cgo.
PLATFORMS := $(foreach os,linux darwin windows freebsd,$(os)/amd64 $(os)/arm64)

# Modules that take longest to build with the race detector, or to run: tests and measurements of others, and what is built on
# the library. They are left to race-long.
SLOW_RACE := ./bench ./deploy ./observe/browsertest ./catalog/etcd/integration ./raft/etcd ./raft/hashicorp ./examples/kv ./examples/maelstrom

# What holds documents and modules to what they say by running the go command, with or without the race detector alike.
OF_DOCUMENTS := -skip 'TestGoInDocuments|TestTheProgramOfTheReadme'

# Packages whose tests run at once, and tests of each that say that they may: servers wait more than they compute.
AT_ONCE ?= 4
SIDE_BY_SIDE := -p $(AT_ONCE) -parallel $(AT_ONCE)

# What servers of two processes say to one another is tested over both transports: once over the default, and once more
# over Go where that is libzmq. $(call over-go,FLAGS) does the latter; the packages are those whose servers have sockets. Of
# both transports at once is what names the transport of each server itself.
CLUSTERS := . ./internal/scenario ./examples
OF_BOTH  := TestASimulatedFaultLooksToTheProgramAsItDoesOverTCP
over-go   = $(if $(filter 0,$(CGO)),@:,export CLUSTER_TRANSPORT=go; \
	{ go test $(SIDE_BY_SIDE) $(1) -run 'TestContract/(tcp|ipc)|TestStartLocal' ./clustertest && cd cmd/cluster && go test $(1) ./...; } & beside=$$!; \
	go test $(SIDE_BY_SIDE) $(OF_DOCUMENTS)'|$(OF_BOTH)' $(1) $(CLUSTERS); found=$$?; wait $$beside && exit $$found)

# Every package of a module, the one with the longest tests first, so that the others run beside it.
ALL := $$(ls -d ./internal/scenario 2>/dev/null) ./...

# The same without those that only run the go command.
OF_CODE := $$(ls -d ./internal/scenario 2>/dev/null) $$(go list ./... | grep -vE 'internal/(doccheck|goproxy)$$')

# $(call each,MODULES,COMMAND) runs COMMAND in each of the modules and stops at the first failure.
each = @set -e; for m in $(1); do (set -x; cd $$m; $(2)); done

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing of pkg-config and libzmq
	@scripts/setup.sh

setup-all: ## the same, and what tests of other languages, of pages and of broken networks need
	@scripts/setup.sh python
	@scripts/setup.sh browser
	@scripts/setup.sh faults

demo: setup ## servers in processes of their own send, get killed, come back (5 s)
	@go build -buildvcs=false -o bin/demo ./examples/demo
	@bin/demo

demo-secure: setup ## the same with keys, and a stranger who is not let in
	@go build -buildvcs=false -o bin/demo ./examples/demo
	@cd cmd/cluster && go build -buildvcs=false -o ../../bin/cluster .
	@scripts/demo-secure.sh

demo-live: setup ## five servers with their pages: one is killed, one added; until Ctrl-C or for two minutes
	@cd observe && go build -buildvcs=false -o ../bin/demo-live ./demo
	@bin/demo-live

demo-kv: setup ## a replicated store: its leader is killed under load, a server added, one removed; nothing is lost (10 s)
	@cd examples/kv && go build -buildvcs=false -o ../../bin/kv . && go build -buildvcs=false -o ../../bin/demo-kv ./demo
	@bin/demo-kv -kv bin/kv

test: ## every test of every module, those of clusters over both transports
	@scripts/setup.sh python
	@scripts/setup.sh browser
	$(call each,$(MODULES),go test $(SIDE_BY_SIDE) $(ALL))
	$(call over-go)

race: setup ## the tests again, in another order, under the race detector
	$(call each,$(filter-out $(SLOW_RACE),$(MODULES)),go test $(SIDE_BY_SIDE) $(OF_DOCUMENTS) -race -shuffle=on -count=1 -timeout 20m $(OF_CODE))
	CLUSTER_TRANSPORT=go go test $(OF_DOCUMENTS) -race -shuffle=on -count=1 .

clustertest-long: ## 1,000 seeds replay in processes of their own, 10,000 raise no false alarm, every rule over every transport (1 hour)
	go test ./clustertest -run 'TestASeedReplays|TestARightCluster|TestWhatIsSpoiled|TestContract' -long -timeout 3h -count=1

oldest-go: setup ## vet and the library's tests with the oldest Go that go.mod allows, which is downloaded
	GOTOOLCHAIN=go$$(awk '$$1 == "go" { print $$2 (split($$2, a, ".") < 3 ? ".0" : "") }' go.mod) sh -c 'go version && go vet ./... && go test ./...'

reload-long: setup ## the file of a loaded cluster changes 100 times, each time within a second (1 min)
	go test ./internal/scenario -run TestRandomChangesOfTheFile -long -count=1

reach-long: setup ## a peer whose process runs is not down for 15 minutes, with the race detector beside two busy loops; nor does one that is stopped pass for running (17 min)
	go test -race ./internal/scenario -run 'TestAPeerWhoseProcessRunsIsNotDown|TestAProcessThatIsStopped' -long -count=1 -timeout 1h

page-long: ## the page in a browser: a killed server is down within 5 s, and 64 servers cost 5 % of a core (1 min)
	@scripts/setup.sh browser
	cd observe/browsertest && go test -long -count=1 -v .

etcd-long: setup ## servers follow etcd, which is away for a minute, and 200 times eight join at once (2 min)
	cd catalog/etcd/integration && go test -run 'TestFive|TestServersThatJoin' -long -count=1

raft-long: setup ## hashicorp/raft's own tests on our transport three times, 20 seeds of each scenario of both modules, and a snapshot of 1 GiB (35 min)
	cd raft/hashicorp && go test -v -run 'TestTheTestsOfHashicorpRaft|TestNothingAcknowledged|TestALargeSnapshot' -long -count=1 -timeout 2h .
	cd raft/etcd && go test -v -run TestNothingCommitted -long -count=1 -timeout 1h .

kv-long: setup ## the replicated store is linearizable through ten minutes of faults, and broken ones are found (12 min)
	cd examples/kv && go test -v -run 'Linearizable|TakesOver|Broken' -long -count=1 -timeout 1h .

maelstrom: setup ## a server for Maelstrom, played by a runner of our own: echo, unique-ids, broadcast and lin-kv (1 min)
	@cd examples/maelstrom && go build -buildvcs=false -o ../../bin/maelstrom . && go build -buildvcs=false -o ../../bin/play ./play
	@for w in echo unique-ids broadcast lin-kv; do bin/play -w $$w -nodes 5 -time 10s bin/maelstrom || exit 1; done

maelstrom-long: setup ## the same for 15 s each with ten seeds (5 min)
	cd examples/maelstrom && go test -v -run TestEachWorkload -long -count=1 -timeout 30m .

race-long: setup ## the same 20 times over, and of clusters on Go as often (up to 3 hours)
	go test -race -shuffle=on -count=20 -timeout 90m $(ALL)
	$(call each,$(filter $(SLOW_RACE),$(MODULES)),go test -race -shuffle=on -count=1 -timeout 30m ./...)
	$(call over-go,-race -shuffle=on -count=20 -timeout 90m)

poller: setup ## the tests of the data path with ZeroMQ's own poller, which serves where Go's cannot
	go test -tags zmqpoller ./internal/transport/zmq
	go test -tags zmqpoller -run 'TestContract/(tcp|ipc)' ./clustertest

fuzz: setup ## each fuzz target for 5 minutes (about an hour and a quarter), and values beside gob's on 100 programs
	$(call each,$(MODULES),FUZZTIME=5m $(CURDIR)/scripts/fuzz.sh)
	go test -count=1 -timeout 1h ./internal/codec/gobdiff -seed 1000 -seeds 100

fuzz-short: setup ## each fuzz target for FUZZTIME (10s)
	$(call each,$(MODULES),$(CURDIR)/scripts/fuzz.sh)

# Without optimizations it builds in two thirds of the time. Nothing here is for one architecture alone (a test of
# internal/doccheck sees to that), so that vet finds the same on both, and looks at one.
portable: ## build, and vet with its tests, what does without libzmq for four systems on two architectures (3 min)
	$(call each,. cmd/cluster,for p in $(PLATFORMS); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build -gcflags='all=-N -l' ./...; done)
	$(call each,. cmd/cluster,for p in $(filter %/amd64,$(PLATFORMS)); do \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go vet -gcflags='all=-N -l' ./...; done)
	$(call each,. cmd/cluster,go vet -tags nozmq ./...)

fmt: ## fail if gofmt would change something
	@bad=$$(gofmt -l .); test -z "$$bad" || { echo "gofmt -w these:"; echo "$$bad"; exit 1; }

vet: setup ## go vet
	$(call each,$(MODULES),go vet ./...)

lint: setup ## staticcheck
	$(call each,$(MODULES),$(STATICCHECK) ./...)

tidy: ## fail if go mod tidy would change something
	go mod tidy -diff
	go test -run TestNestedModulesAreTidy -count=1 ./internal/goproxy

build: setup ## build every package and command of every module
	$(call each,$(MODULES),go build -o /dev/null ./...)

docs: setup ## run what the documents say, and check what they cite; says what it skips
	go test -count=1 -v ./internal/doccheck

shell: ## check the scripts, where shellcheck is installed
	@! command -v shellcheck >/dev/null || shellcheck scripts/*.sh .ci/run

bench: setup ## the library beside others; renews docs/performance.md (25 min at most)
	@cd bench && go run . -command 'make bench' -write ../docs/performance.md

bench-quick: setup ## its headline, beside a bare ZeroMQ loop and plain TCP (2 min)
	@cd bench && go run . -quick -limit 4m

bench-compare: setup ## the working tree's speed beside that of the commit REV (25 min)
	@cd bench && go run . -compare '$(REV)'

compat: setup ## the working tree and the commit REV exchange messages (1 min)
	@cd bench && go run . -compat '$(REV)'

faults: setup ## break clusters of TRANSPORT (libzmq, go, mixed) in every way; renews docs/reliability.md (19 min, root for all)
	@scripts/setup.sh faults
	@cd faults && go run . -transport $(TRANSPORT) -command 'make faults TRANSPORT=$(TRANSPORT)' -write ../docs/reliability.md

faults-quick: setup ## the most important of it, on clusters of both transports (under 2 min)
	@scripts/setup.sh faults
	@cd faults && go run . -quick -minutes 2 -transport mixed

faults-long: setup ## connections reset and servers killed for 25 min in all, and a soak of 20 min (45 min)
	@scripts/setup.sh faults
	@cd faults && go run . -transport $(TRANSPORT) -long -minutes 46 -only deliver,deliver-kills,restart-one,restart-minority,restart-majority,soak \
		-command 'make faults-long TRANSPORT=$(TRANSPORT)' -write ../docs/reliability.md

faults-mutants: setup ## break the library one rule at a time, and see that the campaign notices (4 min)
	@cd faults && go run . -mutants -command 'make faults-mutants' -write ../docs/reliability.md

check-long: oldest-go race-long clustertest-long reload-long reach-long etcd-long page-long raft-long kv-long maelstrom-long fuzz faults faults-long faults-mutants compat ## what takes too long for check (8 hours)

check: fmt build portable vet lint tidy shell docs poller fuzz-short race faults-quick demo demo-secure ## what .ci/run runs after the tests

.PHONY: help portable setup setup-all demo demo-secure demo-live demo-kv page-long etcd-long raft-long kv-long maelstrom maelstrom-long test oldest-go race race-long clustertest-long reload-long reach-long poller bench bench-quick bench-compare compat faults faults-quick faults-long faults-mutants fuzz fuzz-short fmt vet lint tidy build docs shell check check-long
