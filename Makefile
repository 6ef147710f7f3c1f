# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3 2>/dev/null))
BIN := .venv/bin

.PHONY: demo test test-real test-docs test-live docs results lint clean

# Plays and audits a small real model through two local servers.
demo: .venv/installed
	$(BIN)/lightbulb demo

# Lint, types and tests; nothing here needs a model.
test: .venv/installed lint
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not real and not docs and not live"

# Tests with real vLLM servers and a real model; installs their environment (3.5 GB) once, into the user's cache.
test-real: .venv/installed
	$(BIN)/python -m pytest -v -m real tests/real

# Two short calls to each provider whose key is in the environment; they cost.
test-live: .venv/installed
	$(BIN)/python -m pytest -v -m live tests/live

# The commands of the documentation, its site, and pages in a Chromium where there is one.
test-docs: .venv/installed
	$(BIN)/python -m pytest -q -n auto --dist loadscope -m docs

# The documentation as a site, in build/docs.
docs: .venv/installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

# The experiment about model sizes: plays what its stores in RESULTS lack (hours are said first), then writes docs/results/.
RESULTS ?= light-bulb-results
results: .venv/installed
	$(BIN)/python -m bench.results play --folder $(RESULTS)
	$(BIN)/python -m bench.results page --folder $(RESULTS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The releases of constraints-ci.txt, so that what passes today passes tomorrow.
.venv/installed: pyproject.toml constraints-ci.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "lightbulb needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-ci.txt -e '.[dev]'
	touch $@

# Removes what was made here, but not the engines and weights in the user's cache.
clean:
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
