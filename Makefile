# Two commands need nothing but make and Python 3.11 to 3.13: `make train` and `make test`.
# The first one to run installs everything into .venv; `make help` lists them all.

VENV := .venv
BIN := $(VENV)/bin
EXTRAS := agents,exact,dev
# Further options of pip, e.g. the index of torch's CPU builds, a tenth of the size:
#   make train PIP_OPTIONS="--extra-index-url ..."
PIP_OPTIONS ?=
# The first of these that is Python 3.11 to 3.13 is taken; `make train PYTHON=...` names another.
PYTHON ?= python3.11 python3.12 python3.13 python3 python
# Files of scripts/ that an editable install does not know yet: they make it install again.
UNKNOWN := $(filter-out $(notdir $(wildcard .src/dispatchgym/*.py)),$(notdir $(wildcard scripts/*.py)))

.PHONY: help install train evaluate test test-all format lint type bench doc clean $(UNKNOWN)
.DEFAULT_GOAL := help

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /:/' | \
		while IFS=: read -r name what; do printf 'make %-9s %s\n' "$$name" "$$what"; done

install: $(VENV)/installed ## create .venv with the pinned packages, when they have changed

train: ARGS ?= experiment=quickstart
train: install ## train a small job-shop agent and compare it with the rules (ARGS="..." for others)
	@$(BIN)/python -m dispatchgym.train $(ARGS)

evaluate: ARGS ?= env=job_shop agents=[rules,ppo] scenario=la mode=blocking
evaluate: install ## compare the rules and the trained agent on benchmark instances (ARGS="...")
	@$(BIN)/python -m dispatchgym.evaluate $(ARGS)

test: install ## the tests that take seconds each
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not plugins" $(ARGS)

test-all: install ## every test, the slow ones and those of other libraries included
	$(BIN)/python -m pytest -q $(ARGS)

format: install ## lay out the code, and mend what the linter can
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: install ## check layout, style and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

type: install ## check the types
	$(BIN)/mypy

bench: ARGS ?= peers=.peers out=docs/speed.json page=docs/performance.md pictures=docs/pictures
bench: install ## measure every problem and other environments; write docs/performance.md
	@$(BIN)/python -m dispatchgym.speed_book $(ARGS)

doc: install ## write the environments' pages in docs/ from their docstrings
	$(BIN)/python docs/build.py

clean: ## remove the installation, links and caches; what the commands wrote stays
	rm -rf $(VENV) .src build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A dot for each package that pip finds; what pip complains of is shown when it fails.
$(VENV)/installed: pyproject.toml constraints.txt $(UNKNOWN) | $(VENV)/bin/python
	@rm -f $@
	@printf 'Installing into $(VENV), about a minute on a quick line: '
	@{ $(BIN)/python -m pip install --disable-pip-version-check $(PIP_OPTIONS) \
		-c constraints.txt -e ".[$(EXTRAS)]" 2>$(VENV)/install.log && touch $@; } | while read -r line; do \
		case "$$line" in \
			Collecting*|Processing*) printf '.' ;; \
			"Installing collected"*) printf ' unpacking' ;; \
		esac; done
	@if test -f $@; then echo ' done'; else echo ' failed'; cat $(VENV)/install.log >&2; exit 1; fi

$(VENV)/bin/python:
	@for python in $(PYTHON); do \
		if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
			2>/dev/null; then \
			echo "Creating $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) && exit 0; \
			rm -rf $(VENV); \
			echo "$$python cannot make a virtual environment;" \
				"on Debian and Ubuntu: apt install python3-venv" >&2; \
			exit 1; \
		fi; \
	done; \
	echo "dispatchgym needs Python 3.11, 3.12 or 3.13 (tried: $(PYTHON));" \
		"name one: make PYTHON=/path/to/python3.11 ..." >&2; \
	exit 1
