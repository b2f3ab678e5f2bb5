# Go alone is enough for build, check, test, race and fuzz. The other targets install what they need.
GO ?= go
BIN := bin/moldau
FUZZTIME ?= 20s

.PHONY: build check test race lint fuzz cross compat compat-three parity apptest faults perf sim model full

build: ## the static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags="-s -w" -o $(BIN) ./cmd/moldau

check: ## what must hold before a push
	test -z "$$(gofmt -l cmd internal test)"
	$(GO) vet ./...
	$(GO) test ./internal/lint

test: ## the README's test command
	$(GO) test ./...

race: ## the race detector on the packages that share memory
	$(GO) test -race -timeout 20m ./internal/env/... ./internal/metrics ./internal/storage/... ./internal/partition ./internal/purgatory ./internal/txn ./internal/replica/... ./internal/peer/... \
		./internal/coordinator ./internal/metadata/... ./internal/quorum/... ./internal/controller/... ./internal/server ./internal/handler ./internal/broker/...

fuzz: ## every fuzz target for FUZZTIME
	test/fuzz $(FUZZTIME)

cross: ## the other platforms compile
	for target in linux/arm64 darwin/arm64 windows/amd64; do \
		echo "build $$target"; GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/moldau || exit 1; done

compat-three: build ## the same clients against three nodes, one after the other restarted
	test/compat/run --three

compat: build ## real clients in Java, Go, Python, JavaScript, C and Rust; exactly-once programs under kill -9; writes the manual's table of clients
	test/compat/run

parity: build ## the same questions to Apache Kafka and to Moldau
	test/parity/run
	test/parity/run --three

apptest: build ## the binary under kill -9, for longer than `go test` does
	MOLDAU_APPTEST=full $(GO) test -count=1 -timeout 20m -v ./test/apptest/...

faults: build ## a cluster of real processes under faults of the network, disks and clocks, MIXES mixes of LENGTH each from SEED on; writes docs/fault-report.md. Linux, root
	MOLDAU_BINARY=$(CURDIR)/$(BIN) $(GO) test -count=1 -timeout 3h -v ./test/apptest/nemesis -run TestFaults -nemesis.mixes=$(or $(MIXES),4) -nemesis.length=$(or $(LENGTH),5m) \
		-nemesis.seed=$(or $(SEED),1) -nemesis.kinds="$(KINDS)" -nemesis.report=$(CURDIR)/docs/fault-report.md

sim: ## the simulations with SEEDS seeds, from SEED on
	$(GO) test -count=1 -timeout 60m ./internal/quorum -run TestClusterSeeds -quorum.seeds=$(or $(SEEDS),50) -quorum.seed=$(or $(SEED),1)
	$(GO) test -count=1 -timeout 60m ./internal/replica -run TestClusterSeeds -replica.seeds=$(or $(SEEDS),50) -replica.seed=$(or $(SEED),1)
	$(GO) test -count=1 -timeout 60m ./internal/sim/cluster -run TestSeeds -cluster.seeds=$(or $(CLUSTER_SEEDS),$(SEEDS),50) -cluster.seed=$(or $(SEED),1)
	$(GO) test -count=1 -timeout 60m ./internal/sim -run TestSeeds -sim.seeds=$(or $(SEEDS),50) -sim.seed=$(or $(SEED),1)

model: ## the storage models with SEEDS seeds each, from SEED on
	$(GO) test -count=1 -timeout 60m ./internal/storage -run 'Model|Compaction|Transactions' -storage.seeds=$(or $(SEEDS),500) -storage.seed=$(or $(SEED),1)

perf: ## paired measurements against Apache Kafka and a bare probe; docs/performance.md says how
	test/perf/run

full: ## the second tier: everything, with a report
	test/full
