# What a newcomer types. Each target sets up all that it needs: Python 3.11+ and make are enough.
#
#   make demo            see the product work; it serves until Ctrl-C
#   make demo ONCE=1     the same, and end
#   make test            run the tests (ARGS="-k name" for some of them)
#   make test-lowest     the same with the oldest versions that pyproject.toml allows
#   make model        compare the ledger with a plain model of it (STEPS=100000 for more; docs/model.md)
#   make mutants         see whether the tests notice small changes of the kernel (docs/mutation.md)
#   make lint            style, types, rooms, migrations, lock
#   make bench           measure, and print the table
#   make soak            load it, kill it and prove the books after (ARGS="--minutes 5"; ARGS=--help teaches)
#   make lock            write requirements.lock (UPGRADE=1: newest versions)
#   make clean           remove what was set up here

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)

# PostgreSQL does not run as root, and its own user may not reach root's clone.
ifeq ($(shell id -u),0)
DEMO_DATA := /var/lib/coalition/demo-$(shell printf %s '$(CURDIR)' | cksum | cut -d ' ' -f 1)
else
DEMO_DATA := $(CURDIR)/.coalition/demo
endif

# Nothing here may touch a database that the user's own settings name.
ALONE := env -u COALITION_DATABASE_URL -u COALITION_MIGRATION_URL -u COALITION_CONFIG

.PHONY: help demo test test-lowest model mutants lint bench soak lock clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(READY)
	@exec $(ALONE) COALITION_DATA_DIR='$(DEMO_DATA)' $(BIN)/coalition demo $(if $(ONCE),--once) $(ARGS)

# Two at a time, a file to a process; then those that race and are timed, with the machine to themselves.
test: $(READY)
ifdef ARGS
	@exec $(BIN)/python -m pytest $(ARGS)
else
	@$(call all_tests,$(BIN))
endif

all_tests = failed=0; $1/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not fire' || failed=1; \
	$1/python -m pytest -m fire || failed=1; exit $$failed

LOWEST := .venv-lowest

test-lowest: $(READY)
	@$(PYTHON) -m venv --clear $(LOWEST)
	@$(BIN)/uv --no-config pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[dev,demo]'
	@$(if $(ARGS),exec $(LOWEST)/bin/python -m pytest $(ARGS),$(call all_tests,$(LOWEST)/bin))

STEPS := 2000

model: $(READY)
	@exec env COALITION_MODEL_STEPS=80 COALITION_MODEL_EXAMPLES=$$((($(STEPS) + 79) / 80)) \
		$(BIN)/python -m pytest -s tests/properties/test_ledger_model.py $(ARGS)

mutants: $(READY)
	@exec $(ALONE) PYTHONPATH=tests $(BIN)/python -m mutation $(ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@data=$$(mktemp -d) && chmod 755 "$$data" && trap 'rm -rf "$$data"' EXIT && trap 'exit 130' INT TERM \
	&& export COALITION_DATA_DIR="$$data" \
	&& echo '$(BIN)/alembic check' && $(ALONE) $(BIN)/coalition migrate && $(ALONE) $(BIN)/alembic check
	@# Our folder of that name would hide the package, or be hidden by it.
	@! grep -i '^schema *[=<>~!]' requirements.lock || { echo 'the package "schema" is in the lock'; exit 1; }
	@! grep -nE '://| @ |file:|--(index|extra|find|trusted)' requirements.lock || { echo 'the lock names a registry or a path'; exit 1; }

bench: $(READY)
	@exec $(ALONE) $(BIN)/python bench/run.py $(ARGS)

soak: $(READY)
	@exec $(ALONE) $(BIN)/python bench/soak.py $(ARGS)

lock: $(READY)
	$(BIN)/uv --no-config pip compile pyproject.toml --quiet --universal --python-version 3.11 --all-extras \
		--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock

clean:
	rm -rf $(VENV) $(LOWEST) .coalition .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A virtual environment knows where it lies: one that was moved or copied is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer with venv and pip is needed; PYTHON=/path/to/it names one' >&2; exit 1; }
	@echo 'Setting up $(VENV) with $(PYTHON); the first time takes a minute or two.'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@printf %s '$(CURDIR)' > $@
