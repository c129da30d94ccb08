# Everything a newcomer needs: `make demo` and `make test`. Each sets up its own environment in .venv on first use.
PYTHON ?= python3
# Given to every `pip install` below, for example to take torch from an index of CPU builds.
PIP_OPTIONS ?=
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PEER   := .venv-peer
LM_EVAL := .venv-lm-eval
OUT    ?= demo-out
# What docs/differences.md speaks of; tests/peers refuse another mergekit.
RIVAL  := mergekit==0.1.5 transformers==5.23.0

# Some images forbid Python to keep what it compiles; every process, and the tests start hundreds, would then compile anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types contract slow soak bench bench-micro bench-scaling bench-search bench-healing bench-transplant bench-ensembles giants gpu gpu-bench fuzz peers lm-eval browser
.PHONY: catalogue claims setup clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) --upgrade pip
	$(BIN)/python -m pip install --quiet $(PIP_OPTIONS) --constraint constraints.txt --editable ".[test]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/cuvee demo --out $(OUT) --overwrite

# Folders that are lanes of their own, each with a target below.
OWN_LANES := $(addprefix --ignore=tests/,peers gpu lm_eval browser)

# A file's tests stay together, because what they share is made once; files in their order, so that small ones come last.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(OWN_LANES) -m "not slow"

check: lint types contract test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contract: $(STAMP)
	$(BIN)/lint-imports

slow: $(STAMP)
	$(BIN)/python -m pytest $(OWN_LANES) -m slow
	CUVEE_EXAMPLES=8 $(BIN)/python -m pytest -m "not slow" tests/reference

# Merges killed at random moments; SOAK_SIZE=0.5 and SOAK_SEED=2 choose other models and other moments.
soak: $(STAMP)
	$(BIN)/python -m pytest -m slow -s tests/end_to_end/test_soak.py tests/end_to_end/test_resume.py

# Against the floor that the hardware sets and, where PEER_PYTHON names an interpreter that has mergekit, against that.
# BENCH="--size 0.1" and the like narrow it; the scripts say what they take.
BENCH ?=

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py $(BENCH)

# What a method's arithmetic costs per entry, in each of its forms.
bench-micro: $(STAMP)
	$(BIN)/python benchmarks/micro.py $(BENCH)

# How time grows with models, parameters and workers.
bench-scaling: $(STAMP)
	$(BIN)/python benchmarks/scaling.py $(BENCH)

# CMA-ES over eight weights against the best uniform one, on strings held out: three minutes.
bench-search: $(STAMP)
	$(BIN)/python benchmarks/search.py

# A stack of layers before and after a short fine-tuning: three minutes.
bench-healing: $(STAMP)
	$(BIN)/python benchmarks/healing.py $(BENCH)

bench-transplant: $(STAMP)
	$(BIN)/python benchmarks/transplant.py $(BENCH)

# Combining predictions: what selection, stacking, calibration and dynamic selection gain, side by side with other tools
# (mlxtend, which must be installed besides), overhead, speech, tokens: fifteen minutes. BENCH=selection names one of them.
ENSEMBLES := selection leakage dynamic calibration products side_by_side overhead speech tokens serving

bench-ensembles: $(STAMP)
	for one in $(or $(BENCH),$(ENSEMBLES)); do $(BIN)/python benchmarks/ensembles/$$one.py || exit 1; done

# Every method on the demo's models, at published defaults and tuned: half an hour.
catalogue: $(STAMP)
	cd benchmarks && ../$(BIN)/python catalogue.py $(BENCH)

# The published claims about merging, measured again: ten minutes; CLAIMS="--tier 2 --seeds 0 1 2" for language models.
CLAIMS ?=

claims: $(STAMP)
	$(BIN)/python -m benchmarks.claims $(CLAIMS)

# Plans of 64 B models, and merges of a tensor of 4.3 GB under 1 GiB: 20 GB of disk, which are given back.
giants: $(STAMP)
	$(BIN)/python benchmarks/giants.py

# On a machine with a GPU and a torch that knows it (PIP_OPTIONS); elsewhere all of it is skipped. `make gpu-bench` measures.
gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu -rs tests/gpu

gpu-bench: $(STAMP)
	$(BIN)/python benchmarks/gpu.py

# Inputs for each parser; FUZZ="--seed 7 --target header" narrows it. What fails is saved in fuzz-failures/.
FUZZ ?= --inputs 100000

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz.lane $(FUZZ)

# The rival tool gets an environment of its own: apart from torch it may need other versions than we do.
$(PEER)/.installed: Makefile constraints.txt
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet $(PIP_OPTIONS) --upgrade pip
	$(PEER)/bin/python -m pip install --quiet $(PIP_OPTIONS) --constraint constraints.txt torch $(RIVAL)
	touch $(PEER)/.installed

peers: $(STAMP) $(PEER)/.installed
	PEER_PYTHON=$(CURDIR)/$(PEER)/bin/python $(BIN)/python -m pytest -m peers tests/peers

# Opens the pages that Cuvee writes; CHROMIUM names the browser where it is not on the path.
browser: $(STAMP)
	$(BIN)/python -m pytest -m browser tests/browser

# lm-eval brings data sets and much else, so it has an environment of its own, with Cuvee in it.
$(LM_EVAL)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LM_EVAL)
	$(LM_EVAL)/bin/python -m pip install --quiet $(PIP_OPTIONS) --upgrade pip
	$(LM_EVAL)/bin/python -m pip install --quiet $(PIP_OPTIONS) --constraint constraints.txt --editable ".[eval]" pytest
	touch $(LM_EVAL)/.installed

lm-eval: $(LM_EVAL)/.installed
	$(LM_EVAL)/bin/python -m pytest -m lm_eval tests/lm_eval

clean:
	rm -rf $(VENV) $(PEER) $(LM_EVAL) demo-out build dist
