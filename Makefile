# The two commands that do all: `make repro` and `make test`. The first use of either makes .venv and
# installs the packages that requirements.lock pins.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"

.PHONY: repro test check bench bench-embeddings bench-growth bench-classifier lock clean

repro: $(READY) ## run what is out of date, print the metrics and where the report is
	@$(RUN) python -m tools.check
	@$(RUN) dvc repro
	@$(RUN) python -m tools.figures

test: $(READY) ## the test suite
	@$(RUN) pytest -n auto

check: $(READY) ## style and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

bench: $(READY) ## ARCHIVE=aclImdb_v1.tar.gz: seconds and peak memory of each stage, and its growth
	@$(RUN) python -m benchmarks.stages $(ARCHIVE) $(if $(TIMES),--times $(TIMES))

bench-embeddings: $(READY) ## WORDSETS=... TEXT=... ARCHIVE=...: speed and quality beside gensim and fastText
	@$(RUN) python -m tools.extra bench
	@$(RUN) python -m benchmarks.embeddings $(WORDSETS) $(if $(TEXT),--text $(TEXT)) \
		$(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SEEDS),--seeds $(SEEDS)) $(OPTIONS)

bench-growth: $(READY) ## how the embeddings' seconds and memory grow with words and vocabulary
	@$(RUN) python -m benchmarks.growth $(OPTIONS)

bench-classifier: $(READY) ## ARCHIVE=... SST2=...: what each choice is worth; beside fastText and scikit-learn
	@$(RUN) python -m tools.extra bench
	@$(RUN) python -m benchmarks.classifier $(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SST2),--sst2 $(SST2)) \
		$(if $(TIMES),--times $(TIMES)) $(OPTIONS)

lock: ## resolve pyproject.toml anew and pin all of it
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@$(RUN) python -m tools.lock

clean: ## remove the environment; data and metrics stay
	rm -rf $(VENV)

$(READY): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Firth needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "installing packages into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $(READY)
