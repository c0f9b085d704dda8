# `make repro` runs the pipeline, `make test` the tests, `make help` lists all commands. The first of them
# makes .venv and installs the packages of requirements.lock, verified by their hashes.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/ready
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
unexport PYTHONWARNINGS # DVC calls deprecated functions, and would stop where warnings are errors

.PHONY: repro test fuzz audit check wheel help bench bench-startup bench-embeddings bench-growth bench-rows bench-threads \
	bench-classifier bench-suite bench-explorer screenshots torture lock clean

repro: $(READY) ## run what is out of date, print the metrics
	@$(RUN) python -m tools.site_cache || true
	@$(RUN) dvc repro || { $(RUN) python -m tools.verify --state; exit 1; }
	@$(RUN) python -m tools.figures

test: $(READY) ## run the test suite
	@$(RUN) pytest -n auto

fuzz: $(READY) ## SECONDS=600: change files of every kind at random, and read them
	@$(RUN) python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(OPTIONS)

torture: $(READY) ## fail every write of every stage, kill stages and experiments, damage outputs
	@$(RUN) TORTURE=1 pytest -n auto -s tests/test_failing_writes.py tests/test_kills.py tests/test_repairs.py

check: $(READY) ## check style and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

audit: $(READY) ## dangerous calls in the code, and known vulnerabilities of the packages
	@$(RUN) python -m tools.extra audit
	@$(RUN) python -m tools.audit

wheel: $(READY) ## the predictor as a package, in dist/
	@$(RUN) python -m tools.wheel --output dist

screenshots: $(READY) ## the pictures in docs/ of the pages in metrics/; needs Chromium
	@$(RUN) python -m tools.screenshots

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-18s %s\n' "$$name" "$$text"; done

bench-startup: $(READY) ## seconds that each stage takes to start
	@$(RUN) python -m benchmarks.startup $(OPTIONS)

bench: $(READY) ## ARCHIVE=aclImdb_v1.tar.gz: seconds and peak memory of each stage, and how they grow
	@$(RUN) python -m benchmarks.stages $(ARCHIVE) $(if $(TIMES),--times $(TIMES))

bench-embeddings: $(READY) ## WORDSETS=... TEXT=... ARCHIVE=...: speed and quality beside gensim and fastText
	@$(RUN) python -m tools.extra bench
	@$(RUN) python -m benchmarks.embeddings $(WORDSETS) $(if $(TEXT),--text $(TEXT)) \
		$(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SEEDS),--seeds $(SEEDS)) $(OPTIONS)

bench-growth: $(READY) ## how seconds and memory of embeddings grow with words and vocabulary
	@$(RUN) python -m benchmarks.growth $(OPTIONS)

bench-threads: $(READY) ## WORDSETS=... TEXT=... ARCHIVE=...: quality of embeddings by the number of threads
	@$(RUN) python -m benchmarks.threads $(WORDSETS) $(if $(TEXT),--text $(TEXT)) \
		$(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SEEDS),--seeds $(SEEDS)) $(OPTIONS)

bench-rows: $(READY) ## how seconds and memory of the text stages grow with the rows
	@$(RUN) python -m benchmarks.rows $(OPTIONS)

bench-classifier: $(READY) ## ARCHIVE=... SST2=...: the value of each choice; beside fastText and scikit-learn
	@$(RUN) python -m tools.extra bench
	@$(RUN) python -m benchmarks.classifier $(if $(ARCHIVE),--archive $(ARCHIVE)) $(if $(SST2),--sst2 $(SST2)) \
		$(if $(TIMES),--times $(TIMES)) $(OPTIONS)

bench-suite: $(READY) ## SUITE=... ARCHIVE=... SST2=...: Firth's defaults beside tuned peers on many corpora
	@$(RUN) python -m tools.extra bench
	@$(RUN) python -m benchmarks.suite $(if $(SUITE),--suite $(SUITE)) $(if $(ARCHIVE),--archive $(ARCHIVE)) \
		$(if $(SST2),--sst2 $(SST2)) $(OPTIONS)

bench-explorer: $(READY) ## weight, load time and frame time of the explorer's page, by the number of words
	@$(RUN) python -m benchmarks.explorer $(OPTIONS)

lock: ## INDEX=URL: resolve pyproject.toml again and pin every package with its hashes
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@$(RUN) python -m pip install --quiet --upgrade pip requests packaging pydantic pyyaml
	@$(RUN) python -m tools.lock $(INDEX) $(FILES)

clean: ## remove the environment and keep data and metrics
	rm -rf $(VENV)

# torch comes first, by itself: pip prefers files whose hashes its index lists to a CPU build in a folder of
# wheels. So pip selects and downloads a wheel, and then verifies and installs that file. A CPU build declares
# no CUDA libraries; where torch does, those of requirements-cuda.lock are installed.
PIP := $(RUN) python -m pip --quiet --disable-pip-version-check
VERIFIED := --require-hashes --no-deps

$(READY): requirements.lock requirements-cuda.lock
	@$(PYTHON) -c 'import sys; sys.exit("Firth needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	@echo "installing packages into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^torch==/,/[^\\]$$/p' requirements.lock > $(VENV)/torch.lock
	@$(PIP) download --no-deps --dest $(VENV)/wheels "$$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' $(VENV)/torch.lock)"
	@$(PIP) install $(VERIFIED) --no-index --find-links $(VENV)/wheels -r $(VENV)/torch.lock
	@rm -rf $(VENV)/wheels
	@$(PIP) install $(VERIFIED) -r requirements.lock
	@$(RUN) python -c 'import importlib.metadata as m, sys; sys.exit("nvidia" not in str(m.requires("torch")))' || exit 0; \
		$(PIP) install $(VERIFIED) -r requirements-cuda.lock
	@touch $(READY)
