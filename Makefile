# Two commands matter: `make demo` and `make test`. Each does its own set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# One more than the two processors of a small machine, since tests wait a third of their time; a
# file's tests share a process and what they set up, and the longest files come first.
TEST_PROCESSES := -n 3 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test check format soak screenshots setup apt clean

help:            ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14

demo: setup      ## receive eight synthetic studies and real files, ask, print the answers
	$(BIN)/medr1-pacs demo --data-dir ./demo-data

test: setup apt  ## every test, with private PostgreSQL and Redis servers
	$(BIN)/python -m pytest -m "not soak and not gpu" $(TEST_PROCESSES)

soak: setup apt  ## the long acceptance sizes
	$(BIN)/python -m pytest -m soak

check: setup     ## format, lint, types, import contracts, what the wheel holds
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/wheel.py

format: setup    ## rewrite the code in our format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/.installed  ## .venv with the pinned packages

screenshots: setup apt  ## the pictures of the pages in docs/screenshots
	rm -rf build/screenshots
	MEDR1_SCREENSHOTS=$(CURDIR)/build/screenshots $(BIN)/python -m pytest tests/browser/test_every_page.py tests/browser/test_reading.py
	$(BIN)/python tests/screenshots.py build/screenshots docs/screenshots

# An interrupted installation leaves no stamp, so the next call repeats it.
$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[worker,dev]"
	touch $@

# What the tests need besides Python: servers and a DICOM peer, started privately on free ports.
apt:
	@sh tests/install_servers.sh

clean:           ## remove what make made
	rm -rf $(VENV) demo-data build test-results .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
