# `make help` says what there is.

DIR ?= .
ADDR ?= 127.0.0.1:8080
CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help run test interop bench bench-peers doc clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve DIR (default: .) at ADDR (default: 127.0.0.1:8080)
	$(CARGO) run --release --features cli -- serve $(DIR) --addr $(ADDR)

test: ## format, lints, docs, all tests, all examples: needs the toolchain alone
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	$(CARGO) clippy --test interop --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features
	$(CARGO) build --examples
	$(CARGO) test --all-features

interop: ## tests against curl, wrk, ab, h2load, Python, Node: installs those that are missing
	.ci/install curl:curl wrk:wrk ab:apache2-utils h2load:nghttp2-client node:nodejs
	/usr/bin/python3 -c 'import requests' || .ci/install none:python3-requests
	$(CARGO) build --release --features cli --example echo
	$(CARGO) test --release --features cli --test interop

bench: ## micro-benchmarks
	$(CARGO) bench

bench-peers: ## other servers and the ceiling beside ours (PEERS="--rounds 3 …"): installs wrk
	.ci/install wrk:wrk
	cd benches/peers && $(CARGO) run --release --package peers -- $(PEERS)

doc: ## the documentation, opened in a browser
	$(CARGO) doc --no-deps --all-features --open

clean: ## remove all that was built
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
