# The few commands that a person types. `make demo` and `make test` do all the set-up on a fresh
# machine: Debian with root, git, make and stable Rust.

CACHE ?= $(or $(BUILD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portcullis)
export BUILD_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
# RocksDB is built once, for every profile, and linked statically.
export ROCKSDB_STATIC := 1
WITH_ROCKSDB = ROCKSDB_LIB_DIR="$$(.ci/librocksdb)" &&  export ROCKSDB_LIB_DIR &&
KEEP ?=
SOAK_SECONDS ?= 600
PROFILE ?= ci
SALT ?=

.PHONY: help demo test check build bench keybench soak fuzz lodestar availability dashboards clean

help: ## the list of these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: setup ## builds the gate and shows on one page what it does (KEEP=1 leaves it running)
	@$(WITH_ROCKSDB) cargo build --release --bin portcullis
	@$(CARGO_TARGET_DIR)/release/portcullis demo $(if $(KEEP),--keep)

test: setup ## every test, official suites included
	@$(WITH_ROCKSDB) cargo test --workspace --features test-clock --no-fail-fast
	@$(MAKE) --no-print-directory keybench PROFILE=ci SALT=

build: setup ## the release binary
	@$(WITH_ROCKSDB) cargo build --release --bin portcullis
	@echo "$(CARGO_TARGET_DIR)/release/portcullis"

check: setup ## formatting, lints and documentation, as CI does
	@$(WITH_ROCKSDB) .ci/lint

bench: setup ## the gate beside nginx and haproxy, one table (QUICK=1 for a short one, STRICT=1)
	@.ci/setup nginx haproxy libsqlite3-dev
	@$(WITH_ROCKSDB) .ci/bench

keybench: setup ## honest life and attacks against the policy (PROFILE=ci|standard|long SALT=...)
	@cargo bench --quiet -p policy --bench keybench -- --profile $(PROFILE) --salt '$(SALT)' \
		$(if $(filter ci,$(PROFILE)),,--results '$(CACHE)/keybench')

soak: setup ## the long loops: a million simulated duties, 200 kills
	@$(WITH_ROCKSDB) cargo test --release --workspace -- soak --include-ignored --nocapture

fuzz: setup ## every fuzz target for SOAK_SECONDS each (needs a nightly toolchain and cargo-fuzz)
	@$(WITH_ROCKSDB) .ci/fuzz $(SOAK_SECONDS)

lodestar: build ## a real validator client signs through the gate for four epochs
	@.ci/lodestar

availability: build ## what restarts, handovers, reloads and outages cost a real client in duties
	@.ci/availability

dashboards: setup ## every query of the dashboards, asked of a real Prometheus that reads a real gate
	@$(WITH_ROCKSDB) .ci/dashboards

.PHONY: setup
setup: # system packages, if they are missing; nothing where they are there
	@.ci/setup
