# make run      set everything up, with progress, and open schedtui
# make test     everything that CI runs, the lab included (15 minutes at most on two cores)
# make check    the same without the lab and the slowest (one minute)
# make matrix   the built-in policies' promises, their proof on three kernels, bad ones judged; CI runs it after make test
# make bench    the product's numbers          make soak  full matrices and large counts of faults
# make scx      build the external schedulers that tests and benchmarks run, with cargo (they are large)
# make mutations  break the built-in policies at random, and write what the verifier catches to docs/MUTATIONS.md
# make bench-schedulers  the external schedulers and ours beside EEVDF; writes the table of docs/BENCHMARKS.md
# make bench-policies  what each policy is better at than EEVDF; writes the table of docs/POLICIES.md
# make recordings  record the sessions that snapshot tests play, anew, in the lab
# make screenshot  draw the README's picture anew, from one of the recordings

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Debian and Ubuntu keep a part of Python in a package of its own.
ADD_VENV := { test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq -o Dpkg::Use-Pty=0 install python3-venv >/dev/null; } \
	|| { echo "Python's venv is missing: sudo apt install python3-venv"; exit 1; }
PYTEST := $(BIN)/pytest -q

.PHONY: scx run setup test check lint bench bench-schedulers bench-policies soak matrix mutations recordings screenshot clean

run: .venv/.lab
	@exec $(BIN)/schedtui

setup: .venv/.dev .venv/.lab

.venv/.program: pyproject.toml constraints.txt
	@echo "Setting up Python's part, in .venv: half a minute or so"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "schedtui needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(ADD_VENV)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) hatchling
	@$(PIP) --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.program
	@echo "Setting up what the tests need"
	@$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

# Without the lab's tools everything else still works, so a refusal ends nothing, and is asked again next time.
.venv/.lab: .venv/.program
	@$(BIN)/schedtui lab install && touch $@ || echo "The lab is not ready yet; everything else is."

lint: .venv/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(PYTEST) -n 2 -m 'not lab and not soak and not slow'

# Needs Rust's cargo, clang and the headers of libelf and zlib; an hour for all on two cores, minutes for one.
SCX ?= $(HOME)/.cache/scx
SCHEDULERS ?= scx_bpfland scx_lavd scx_rusty scx_layered scx_flash scx_p2dq
CLANG_FOR_SCX ?= $(firstword $(foreach each,clang clang-21 clang-20 clang-19 clang-18,$(shell command -v $(each))))

scx: $(SCHEDULERS:%=$(SCX)/bin/%)

$(SCX)/bin/%:
	@command -v cargo >/dev/null || { echo "Building $* needs cargo: https://rustup.rs"; exit 1; }
	BPF_CLANG=$(CLANG_FOR_SCX) CARGO_TARGET_DIR=$(SCX)/target cargo install --quiet --locked --root $(SCX) $*

# The default kernel is a must; the oldest and the newest may be gone from the archive one day.
test: setup lint $(SCX)/bin/scx_bpfland
	$(BIN)/schedtui lab prepare
	-$(BIN)/schedtui lab kernels --fetch 6.16
	-$(BIN)/schedtui lab kernels --fetch 7.3
	$(PYTEST) -n 2 -m 'not lab and not soak'
	$(PYTEST) -m 'lab and not soak'

bench: setup
	$(BIN)/python -m tests.benchmarks.product
	$(BIN)/python -m tests.benchmarks.host

bench-schedulers: setup scx
	$(BIN)/python -m tests.benchmarks.schedulers --pairs 5 --write

bench-policies: setup
	$(BIN)/python -m tests.benchmarks.policies --write

# A guest that is Debian as people install it is made with debootstrap; another carries this computer's D-Bus and polkit.
SOAK_TOOLS := debootstrap dbus-daemon polkitd
soak: setup scx $(SCX)/bin/scx_loader
	@dpkg-query --show $(SOAK_TOOLS) >/dev/null 2>&1 || apt-get -qq -o Dpkg::Use-Pty=0 install $(SOAK_TOOLS) >/dev/null
	$(BIN)/schedtui lab install --bcc
	$(PYTEST) -m soak --timeout=3600

# The deep dive's test compiles in a guest that carries the distribution's bcc.
matrix: setup $(SCX)/bin/scx_bpfland
	$(BIN)/schedtui lab install --bcc
	$(PYTEST) -m matrix --timeout=600

mutations: setup
	$(BIN)/python -m tests.corpus.mutations

recordings: setup
	$(BIN)/python -m tests.recordings.make

screenshot: .venv/.dev
	$(BIN)/python -m tests.recordings.screenshot

clean:
	rm -rf .venv build dist
