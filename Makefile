# Two commands are all a fresh machine needs: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help setup demo test torture overload soak bench ci clean
SHELL := bash
DEMO ?=
BENCH ?=

help:
	@echo 'make demo    set up, build, and watch the loop learn: built-in questions, simulated people (Ctrl-C drains;'
	@echo '             run it again and it goes on; DEMO="--updates 20" passes flags on)'
	@echo 'make test    set up, build, run all tests'
	@echo 'make torture kill, drain and damage a daemon for 30 minutes (UNDERSTUDY_TORTURE_MINUTES) and check that nothing is'
	@echo '             lost; UNDERSTUDY_TORTURE_SEED repeats a round'
	@echo 'make soak    run a daemon under mixed load for 30 minutes (UNDERSTUDY_SOAK_MINUTES), killed every minute, and check'
	@echo '             that memory, files, threads and disk stay in their bounds'
	@echo 'make overload  ask and rate far more than a daemon can take for 3 minutes (UNDERSTUDY_OVERLOAD_SECONDS) and check that'
	@echo '             it refuses with a reason, in bounded memory, and recovers'
	@echo 'make setup   fetch libtorch and the default model into .libtorch/ and .models/ (once; resumable)'
	@echo 'make bench   measure tokens a second and the phases of an update, as JSON (BENCH="..." passes flags on);'
	@echo '             BENCH="serve" measures what 64 clients see of a daemon that learns, and of one that does not'
	@echo 'make ci      everything that must hold before a change lands'
	@echo 'make clean   remove what was built and what the demo wrote; keeps what setup fetched'

setup:
	@scripts/setup.sh

demo: setup
	@cargo run --release --locked -- demo $(DEMO)

# nextest where it is installed, cargo otherwise: the same tests, and the documentation's examples either way.
test: setup
	@if cargo nextest --version >/dev/null 2>&1; \
	then cargo nextest run --workspace --locked; \
	else cargo test --workspace --locked --lib --bins --tests --examples; fi
	@cargo test --workspace --locked --doc --quiet

torture: setup
	@UNDERSTUDY_TORTURE_MINUTES=$${UNDERSTUDY_TORTURE_MINUTES:-30} \
		cargo test --locked --test integration crash::crash_kills -- --nocapture

soak: setup
	@UNDERSTUDY_SOAK_MINUTES=$${UNDERSTUDY_SOAK_MINUTES:-30} \
		cargo test --locked --test integration crash::crash_soak -- --nocapture

overload: setup
	@UNDERSTUDY_OVERLOAD_SECONDS=$${UNDERSTUDY_OVERLOAD_SECONDS:-180} \
		cargo test --locked --test integration overload:: -- --nocapture

bench: setup
	@cargo run --release --locked --quiet -- bench $(BENCH)

ci:
	@.ci/run

clean:
	@cargo clean
	@rm -rf data/demo
