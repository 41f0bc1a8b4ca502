# make test    installs what tests need and runs them all
# make check   formatting, vet, static analysis, cross-builds, goldens
# make race    the Go tests under the race detector
# make tokenizer-soak  the tokenizers against their reference over 200 MB of text each: an hour of two cores
# make help    the other targets

GO        ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
OUT       ?= dist
ARM_EXEC   = qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu
CROSS      = darwin/arm64 linux/arm64 windows/amd64

.PHONY: help test check testdata test-go test-race test-purego test-arm64 test-arm64-kernels test-arm64-tokenizer test-blas test-c race fuzz cross libkrserve clean bench-peers bench-multi-turn bench-prefix bench-invariance operating-characteristics tokenizer-soak serve-soak pool-soak

help:
	@grep -E '^# make ' Makefile | cut -c3-

# The last four two at a time: each is one process after another most of its time.
test: testdata test-go test-race
	$(MAKE) -j2 test-arm64 test-c test-purego test-blas

testdata:
	@scripts/testdata.sh

# Packages whose tests run long come first, so that none runs alone at the end.
LONG = ./tokenizer ./internal/backend/cpu ./bindings/python ./examples .
# The C library before: three packages' tests want it, and would compile its kernels side by side.
test-go:
	$(GO) run cmd/libkrserve/build.go -o .testdata/lib
	$(GO) test -timeout 30m $(LONG) ./...

# The packages under the race detector; -short leaves out what only runs long, not what is different. Left out whole are
# packages without goroutines (a lint test sees to that) and those whose tests only start other processes.
SEQUENTIAL = internal/graph internal/quant internal/sample internal/stats
OUTSIDE    = bindings/python examples internal/lint
test-race:
	$(GO) test -timeout 30m -race -short $$($(GO) list $(LONG) ./... | grep -vE '/($(subst $() ,|,$(strip $(SEQUENTIAL) $(OUTSIDE))))$$')

race:
	$(GO) test -race ./...

test-purego:
	CGO_ENABLED=0 $(GO) test -short -tags purego ./tokenizer/... ./internal/...

# Of the tokenizer's tests those that its kernels decide: 40 seconds of CPU under the emulator.
ARM_TESTS = TestKernel|TestGoldens|TestFastPath|TestBlocksAgainstSteps|TestNFCPrefix|TestAppendNFCFrom|TestInvalidUTF8
test-arm64: test-arm64-kernels test-arm64-tokenizer
test-arm64-kernels:
	GOARCH=arm64 CGO_ENABLED=1 CC=aarch64-linux-gnu-gcc $(GO) test -timeout 30m -short -exec '$(ARM_EXEC)' ./internal/backend/cpu/
test-arm64-tokenizer:
	GOARCH=arm64 CGO_ENABLED=0 $(GO) test -timeout 30m -short -exec '$(ARM_EXEC)' -run '$(ARM_TESTS)' ./tokenizer/

# The variant for Apple's Accelerate, over OpenBLAS.
test-blas:
	$(GO) test -short -tags openblas -run 'TestAccelerate|TestVariants' ./internal/backend/cpu/

# The C kernels and the C library under AddressSanitizer and UndefinedBehaviorSanitizer.
test-c:
	$(MAKE) -C internal/backend/cpu sanitize

check:
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(MAKE) cross
	$(GO) test ./internal/lint/
	$(GO) mod tidy -diff

cross:
	@for p in $(CROSS); do echo "cross $$p"; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... && \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; done

# make bench-peers       builds llama.cpp and measures both in one run; results under bench/results
bench-peers: testdata
	bench/peers.sh
	$(GO) build -o bin/krserve ./cmd/krserve
	@mkdir -p bench/results
	python3 bench/peers.py -krserve bin/krserve -peers $${PEERS:-.testdata/peers} -models .testdata -out bench/results/peers-$$(date -u +%F)

# make bench-multi-turn  chats of many users on krserve and llama-server in one run; results under bench/results
bench-multi-turn: testdata
	bench/peers.sh llama
	$(GO) build -o bin/krserve ./cmd/krserve
	@mkdir -p bench/results
	python3 bench/multi_turn.py -krserve bin/krserve -server $${PEERS:-.testdata/peers}/llama/bin/llama-server -model .testdata/smollm2.gguf \
	  -out bench/results/multi-turn-$$(date -u +%F)

# make bench-tokenizer   the tokenizer against gigatoken and fastokens in one run; results under bench/results
TOK_PEERS  ?= $(if $(PEERS),$(PEERS)/v,.testdata/tokpeers)
TOK_TEXTS  ?= $(if $(PEERS),$(PEERS)/corpus,.testdata/soak/text)
TOK_OUT    ?= bench/results/tokenizer-$(shell date -u +%F)
TOK_FLAGS  ?=
bench-tokenizer: testdata
	@[ -x $(TOK_PEERS)/bin/python ] || { python3 -m venv $(TOK_PEERS) && $(TOK_PEERS)/bin/pip install -q gigatoken==0.10.0 fastokens==0.3.5 numpy; }
	@[ -f $(TOK_TEXTS)/en.txt ] || scripts/soak-corpus.sh
	$(GO) build -o bin/krserve ./cmd/krserve
	@mkdir -p $(dir $(TOK_OUT))
	$(TOK_PEERS)/bin/python bench/tokenizer.py -krserve bin/krserve -tokenizers .testdata/tok -texts $(TOK_TEXTS) \
	  -gguf .testdata/smollm2.gguf,.testdata/gemma3-270m.gguf -out $(TOK_OUT) $(TOK_FLAGS)

# make operating-characteristics   how often and how soon canary policies roll back: 1,000 seeds per line
RUNS       ?= 1000
OPERATING  ?= bench/results/operating-$(shell date -u +%F).md
operating-characteristics:
	$(GO) build -o bin/krserve ./cmd/krserve
	@mkdir -p $(dir $(OPERATING))
	scripts/operating-characteristics.sh bin/krserve $(RUNS) $(OPERATING)

# make libkrserve OUT=dir   the C library and its header
libkrserve:
	$(GO) run cmd/libkrserve/build.go -o $(OUT)

clean:
	rm -rf $(OUT)

SOAK      ?= 205000000
SOAK_LOG  ?= bench/results/tokenizer-soak-$(shell date -u +%F).txt
tokenizer-soak: testdata
	scripts/soak-corpus.sh
	@mkdir -p $(dir $(SOAK_LOG))
	{ git log -1 --format="commit %h"; lscpu | grep -m1 "Model name"; echo "$$(nproc) cores, $$(date -u +%F)"; } > $(SOAK_LOG)
	$(GO) test -count=1 -timeout 0 -run TestSoak -v -parallel 2 ./tokenizer -soak $(SOAK) -corpus ../.testdata/soak/text | tee -a $(SOAK_LOG)

# make serve-soak        two engines on one full pool under random cancels, deadlines and disconnects, a redis-server killed and restarted: 30 minutes
SERVE_SOAK     ?= 30m
SERVE_SOAK_LOG ?= bench/results/serve-soak-$(shell date -u +%F).txt
serve-soak: testdata
	@mkdir -p $(dir $(SERVE_SOAK_LOG))
	{ git log -1 --format="commit %h"; lscpu | grep -m1 "Model name"; echo "$$(nproc) cores, $$(date -u +%F)"; } > $(SERVE_SOAK_LOG)
	$(GO) test -count=1 -timeout 0 -run TestServeSoak -v . -soak $(SERVE_SOAK) -soakmodel .testdata/smollm2.gguf -soakredis | tee -a $(SERVE_SOAK_LOG)

# make bench-prefix      a long prompt cold, its next turn, and again after a restart with a file; forks and matches of the pool
PREFIX_OUT ?= bench/results/prefix-$(shell date -u +%F)
bench-prefix: testdata
	$(GO) build -o bin/krserve ./cmd/krserve
	$(GO) test -c -o bin/kvcache.test ./kvcache
	@mkdir -p $(dir $(PREFIX_OUT))
	python3 bench/prefix.py -krserve bin/krserve -pool bin/kvcache.test -model .testdata/smollm2.gguf -out $(PREFIX_OUT)

# make bench-invariance  what the fixed order of sums costs, against builds that are free to choose theirs
INVARIANCE_OUT ?= bench/results/invariance-$(shell date -u +%F)
bench-invariance: testdata
	$(GO) build -o bin/krserve ./cmd/krserve
	for seg in 2112 1048576; do CGO_CFLAGS="-O2 -g -DKR_SEG=$$seg" $(GO) build -o bin/krserve-$$seg ./cmd/krserve || exit 1; done
	$(GO) build -tags openblas -o bin/krserve-openblas ./cmd/krserve
	@mkdir -p $(dir $(INVARIANCE_OUT))
	python3 bench/invariance.py -bin bin/krserve -model .testdata/smollm2.gguf -out $(INVARIANCE_OUT)

# make pool-soak         the pool against its model: 10,000 random operations of each of 1,000 seeds, under the race detector
POOL_SOAK_LOG ?= bench/results/pool-soak-$(shell date -u +%F).txt
pool-soak:
	@mkdir -p $(dir $(POOL_SOAK_LOG))
	{ git log -1 --format="commit %h"; date -u +%F; lscpu 2>/dev/null | grep 'Model name' || uname -m; $(GO) version; } > $(POOL_SOAK_LOG)
	$(GO) test -race -count=1 -timeout 0 -run TestModelSoak -v ./kvcache -pool-seeds 1000 | tee -a $(POOL_SOAK_LOG)

.PHONY: bench-regress regress regress-goldens

# make bench-regress     `krserve regress history` against apache-otava and ruptures; results under bench/results
REGRESS_PEERS ?= .testdata/regresspeers
REGRESS_OUT   ?= bench/results/regress-$(shell date -u +%F)
REGRESS_FLAGS ?=
OTAVA          = apache-otava==0.8.0
bench-regress:
	@[ -x $(REGRESS_PEERS)/v/bin/python ] || python3 -m venv $(REGRESS_PEERS)/v
	@[ -d $(REGRESS_PEERS)/otava/tests ] || { $(REGRESS_PEERS)/v/bin/pip install -q $(OTAVA) ruptures==1.1.10 && mkdir -p $(REGRESS_PEERS)/otava && \
	  $(REGRESS_PEERS)/v/bin/pip download -q --no-deps --no-binary :all: -d $(REGRESS_PEERS) $(OTAVA) && tar xzf $(REGRESS_PEERS)/apache_otava-*.tar.gz --strip-components=1 -C $(REGRESS_PEERS)/otava; }
	$(GO) build -o bin/krserve ./cmd/krserve
	@mkdir -p $(dir $(REGRESS_OUT))
	$(REGRESS_PEERS)/v/bin/python bench/regress.py -krserve bin/krserve -otava $(REGRESS_PEERS)/otava $(REGRESS_FLAGS) -out $(REGRESS_OUT)

# make regress           krserve's own benchmarks against an earlier commit, BASE=commit or the branch's base: a minute, advice only
regress:
	$(GO) build -o bin/krserve ./cmd/krserve
	@scripts/regress.sh bin/krserve $(BASE)

regress-goldens:
	$(REGRESS_PEERS)/v/bin/python regress/testdata/make_goldens.py $(REGRESS_PEERS)/otava > regress/testdata/goldens.json
