# Two commands need nothing but Python >= 3.11 (with venv) and make:
#   make demo    the main job on the embedded node
#   make test    the tests, against the built wheel
# Everything else is for people who work on tdbwatch itself.

PYTHON ?= python3
VENV   := .venv
WHEEL  := .venv-wheel
PIP    := -m pip --disable-pip-version-check --quiet
ARGS   ?=
# Tests run side by side; against real nodes one by one, since they share these and end with what was measured.
JOBS   ?= $(if $(TDBWATCH_THINGSDB_BIN)$(TDBWATCH_TEST_NODES),0,auto)

# The time that files in packages get: the last commit's, or that of the sources where there is no git.
EPOCH ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml))

.DEFAULT_GOAL := help
.PHONY: help demo test check setup dist deb reproducible wheel format lint types imports bench soak clean

help: ## what there is to make
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.run ## run the main job on two embedded nodes (Ctrl-C ends it; ARGS="--seconds 15")
	@$(VENV)/bin/tdbwatch demo $(ARGS)

test: wheel ## build the wheel, install it in a venv of its own, and test that
	$(WHEEL)/bin/pytest --numprocesses $(JOBS) --maxprocesses 4 --dist loadfile $(ARGS)

check: format lint types imports reproducible test ## all that CI runs

setup: $(VENV)/.dev ## an editable install with the developers' tools

dist: $(VENV)/.dev ## the sdist, and the wheel made of it: the same sources make the same files, bit by bit
	@rm -rf dist && SOURCE_DATE_EPOCH=$(EPOCH) $(VENV)/bin/python -m build --no-isolation --outdir dist . >/dev/null

reproducible: dist ## build both again, from a copy with other permissions, and compare
	@rm -rf build/again && mkdir -p build/again && tar -xzf dist/*.tar.gz -C build/again && chmod -R go= build/again
	@cd build/again/tdbwatch-* && SOURCE_DATE_EPOCH=$(EPOCH) $(abspath $(VENV))/bin/python -m build --no-isolation --outdir .. . >/dev/null
	@for file in dist/*.whl dist/*.tar.gz; do cmp $$file build/again/$$(basename $$file) || exit 1; done

deb: dist ## a package for this Debian, with a virtual environment of its own
	@$(VENV)/bin/python packaging/pages.py build/pages
	@SOURCE_DATE_EPOCH=$(EPOCH) PIP_PYTHON=$(VENV)/bin/python packaging/deb/build.sh dist/*.whl build/pages build/deb dist

wheel: dist $(WHEEL)/.deps
	@$(WHEEL)/bin/python $(PIP) install --no-deps --force-reinstall dist/*.whl

format: $(VENV)/.dev
	$(VENV)/bin/ruff format --check .

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy

imports: $(VENV)/.dev
	$(VENV)/bin/lint-imports

bench: $(VENV)/.bench ## ratios against python-thingsdb, measured in the same run
	$(VENV)/bin/python -m bench $(ARGS)

soak: $(VENV)/.dev ## kill the daemon 200 times, reload it 200 times, and see that nothing is lost (KILLS=N, RELOADS=N)
	TDBWATCH_KILLS=$(or $(KILLS),200) TDBWATCH_RELOADS=$(or $(RELOADS),200) $(VENV)/bin/pytest tests/soak -s $(ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) $(WHEEL) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tdbwatch needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing tdbwatch into $(VENV) ..."
	@$(VENV)/bin/python $(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing tdbwatch and the developers' tools into $(VENV) ..."
	@$(VENV)/bin/python $(PIP) install --constraint constraints.txt hatchling --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.dev
	@$(VENV)/bin/python $(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(WHEEL)/.deps: $(VENV)/.dev
	@$(PYTHON) -m venv --clear $(WHEEL)
	@$(VENV)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print("\n".join(p["dependencies"] + p["optional-dependencies"]["test"]))' > $(WHEEL)/requirements.txt
	@$(WHEEL)/bin/python $(PIP) install --constraint constraints.txt --requirement $(WHEEL)/requirements.txt
	@touch $@
