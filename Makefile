# `make run` and `make test` are all a fresh Debian or Ubuntu machine needs. `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Outside the checkout, so that a second clone does not compile RocksDB again.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/siltstone/target

# Oldest Rust that builds this; the same as rust-version in Cargo.toml.
RUST_VERSION := 1.94.1
CARGO := cargo
PROGRAM := $(CARGO_TARGET_DIR)/release/siltstone

.PHONY: help setup build run minio check test guard crash outage soak backfill stores clients compat suites kafka-tools differential terraform fuzz bench numbers

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Cargo tells by times alone whether a file was changed since it was compiled: without the touch, what another checkout has compiled
# could count as this one's.
setup: # what a build needs and this machine lacks
	@missing=(); \
	command -v clang++ >/dev/null || missing+=(clang); \
	command -v cc >/dev/null || missing+=(gcc g++); \
	command -v protoc >/dev/null || missing+=(protobuf-compiler); \
	compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null || missing+=(libclang-dev); \
	if [ $${#missing[@]} -gt 0 ] || ! command -v $(CARGO) >/dev/null; then \
		command -v apt-get >/dev/null || { echo "missing: $${missing[*]}, cargo; install them with this system's package manager, then run make again" >&2; exit 1; }; \
		root=; [ "$$(id -u)" = 0 ] || root=sudo; \
		$$root apt-get update -qq; \
		if ! command -v $(CARGO) >/dev/null; then \
			packaged=$$(apt-cache policy rustc | sed -nE 's/^ *Candidate: ([0-9.]+).*/\1/p'); \
			if dpkg --compare-versions "$${packaged:-0}" ge $(RUST_VERSION); then missing+=(rustc cargo); \
			else echo "Rust $(RUST_VERSION) or newer is needed and this distribution packages $${packaged:-none}: install it with rustup (https://rustup.rs), then run make again" >&2; exit 1; fi; \
		fi; \
		echo "installing: $${missing[*]}"; \
		DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq "$${missing[@]}" >/dev/null; \
	fi
	@mkdir -p $(CARGO_TARGET_DIR); built=$(CARGO_TARGET_DIR)/checkout; \
	if [ "$$(cat $$built 2>/dev/null)" != "$(CURDIR)" ]; then find crates -name '*.rs' -exec touch {} +; echo "$(CURDIR)" > $$built; fi
	@compgen -G '$(CARGO_TARGET_DIR)/release/build/librocksdb-sys-*/out/librocksdb.a' >/dev/null || \
		echo "The first build compiles RocksDB: 15 to 30 minutes on two cores, once. Later builds take seconds." >&2

build: setup # the program, at $(PROGRAM)
	@$(CARGO) build --release --locked --bin siltstone

run: build ## start a broker on 127.0.0.1:9092 with its data below ./data; ARGS="--set KEY=VALUE" adds to the command line
	@exec $(PROGRAM) serve $(ARGS)

minio: build ## a MinIO on the loopback and a broker on it, until Ctrl-C, with their data below ./data/minio; ARGS as for run
	@exec tests/stores/minio $(PROGRAM) data/minio $(ARGS)

check: setup ## format, lock files and lints, without running a test
	@for lock in tests/*/Cargo.lock tests/*/*/Cargo.lock; do \
		$(CARGO) update --workspace --locked --quiet --manifest-path $${lock%lock}toml || { echo "bring it up to date: cargo update --workspace --manifest-path $${lock%lock}toml" >&2; exit 1; }; \
	done
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings

test: check ## everything that has to pass before a change lands
	@$(CARGO) test --release --locked --workspace

guard: setup ## what records cost in allocations, writes, syncs, requests and CPU time, held to bounds; but for CPU time part of test
	@SILTSTONE_TEST_GUARD_CPU=1 $(CARGO) test --release --locked --test guard -- --nocapture

crash: setup ## kill -9 a broker under load ROUNDS times (200) and compare what it kept
	@SILTSTONE_TEST_CRASH_ROUNDS=$(or $(ROUNDS),200) $(CARGO) test --release --locked --test program crash:: -- --nocapture

stores: build ## the same tests on S3 stores of different make; STORES="minio …" for some, ROUNDS=n of kill -9 (5), SAVE=1 keeps the report cards
	@ROUNDS=$(or $(ROUNDS),5) tests/stores/run $(PROGRAM) $(STORES)

outage: setup ## a bucket that throttles, loses answers, damages bodies and is away for MINUTES minutes (10), under load
	@SILTSTONE_TEST_OUTAGE_SECONDS=$$((60 * $(or $(MINUTES),10))) $(CARGO) test --release --locked --test program store_faults:: -- --nocapture

soak: setup ## GIB (5) through a broker on a MinIO that stops and starts, killed five times, its disk full once, its metadata lost; STORE=versitygw
	@GIB=$(or $(GIB),5) tests/stores/long soak $(STORE)

backfill: setup ## measure what a backfill of many times the cache does to the tail and to producers; STORE=versitygw
	@tests/stores/long backfill $(STORE)

clients: build ## new and old clients write and read a file of 100,000 lines; CLIENTS="kcat …" for some
	@tests/clients/run $(PROGRAM) $(CLIENTS)

compat: build ## programs as Kafka's users have them, groups included, unchanged against this broker; PROGRAMS="kafka-go …" for some
	@tests/compat/run $(PROGRAM) $(PROGRAMS)

# The report comes even where a suite could not be run, and what failed first counts.
suites: build ## the clients' own test suites against Apache Kafka and this broker, and docs/compatibility.md of it; SUITES="kafka-python …"
	@failed=0; tests/suites/run $(PROGRAM) $(SUITES) || failed=1; tests/suites/report; exit $$failed

kafka-tools: build ## Kafka's administrative tools against Apache Kafka and against this broker, outputs compared; VERSIONS="4.3.1 …"
	@tests/kafka-tools/run $(PROGRAM) $(VERSIONS)

differential: build ## replay recorded clients against this and Apache Kafka, and compare the answers; RECORDINGS="path …" for some
	@tests/differential/run $(PROGRAM) $(RECORDINGS)

terraform: build ## the Terraform modules' tests, and their example applied to moto, a simulated AWS, with a broker on it
	@tests/terraform/run $(PROGRAM)

fuzz: setup ## fuzz every decoder for SECONDS_EACH (20); TARGETS="request …" for some
	@unset CARGO_TARGET_DIR; tests/fuzz/run $(or $(SECONDS_EACH),20) $(TARGETS)

bench: build ## beside Apache Kafka and the machine's limits; CASES="produce-16 …" for some, QUICK=1 for ten minutes of them, ROUNDS=n (5), FLAGS
	@tests/perf/run bench $(PROGRAM) --rounds $(or $(ROUNDS),$(if $(QUICK),3,5)) --cases "$(CASES)" $(if $(QUICK),--quick --seconds 4) $(FLAGS)

numbers: build ## what a store is asked for and how it is felt: docs/operations/store.md; SECONDS_EACH=n of a measurement (20)
	@tests/perf/run store $(PROGRAM) --seconds $(or $(SECONDS_EACH),20)
