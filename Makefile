# `make help` says what there is.

DIR ?= .
ADDR ?= 127.0.0.1:8080
CARGO ?= cargo

# Programs of other people, by Debian package; what is there already is not installed.
define install
	@missing=""; \
	for pair in $(1); do \
		command -v "$${pair%%:*}" >/dev/null 2>&1 || missing="$$missing $${pair#*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing$$missing"; \
		sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		$$sudo apt-get update -qq && $$sudo apt-get install -y -qq $$missing; \
	fi
endef

.DEFAULT_GOAL := help
.PHONY: help run test bench bench-peers doc clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## serve DIR (default: .) at ADDR (default: 127.0.0.1:8080)
	$(CARGO) run --release --features cli -- serve $(DIR) --addr $(ADDR)

test: ## format, lints, docs, all tests, all examples: needs the toolchain alone
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --all-features
	$(CARGO) build --examples
	$(CARGO) test --all-features

bench: ## micro-benchmarks
	$(CARGO) bench

bench-peers: ## other servers and the ceiling beside ours: installs wrk; tables in target/peers.md
	$(call install,wrk:wrk)
	cd benches/peers && $(CARGO) run --release --package peers -- $(PEERS)

doc: ## the documentation, opened in a browser
	$(CARGO) doc --no-deps --all-features --open

clean: ## remove all that was built
	$(CARGO) clean
	cd benches/peers && $(CARGO) clean
