# One environment in .venv, made once from requirements.txt; every other target makes sure that it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?=
NAME ?=
SET ?=
GRID ?=
TASK ?=
export SET  # the shell takes it from the environment: spaces and braces in it stay as they are
GIVEN = $(if $(NAME),--name "$(NAME)") $(if $(SET),--set "$$SET")

.DEFAULT_GOAL := help
.PHONY: help setup demo run test test-slow test-versions lint lab bench compare sweep board page predict export push stress shards clean-cache

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version.split()[0] + ": make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt  # compiled when first imported: few are
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

setup: $(READY)  ## make .venv and install everything (others call it)

demo: $(READY)  ## the whole workflow on the embedded data, from nothing to report.html [TASK=caption]
	$(if $(filter pairs series,$(TASK)),$(BIN)/python -m blipvqa train configs/demo.yaml)
	$(BIN)/python -m blipvqa run configs/$(if $(TASK),$(TASK)-)demo.yaml

run: $(READY)  ## make run CONFIG=configs/x.yaml [NAME=x] [SET="train.epochs=3 data.source=folder"]
	$(BIN)/python -m blipvqa run $(or $(CONFIG),configs/demo.yaml) $(GIVEN)

test: $(READY)  ## every fast test, file by file in two processes of one thread
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(READY)  ## the rest: full size, many kills
	$(BIN)/python -m pytest -q -m slow

test-versions: $(READY)  ## the model's tests against every transformers that is admitted (five minutes a version), and the lowest of all
	tests/versions.sh $(BIN)/python
	tests/lowest.sh $(BIN)/python

lint: $(READY)  ## format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=. $(if $(filter 0,$(shell id -u)),--allow-root)

bench: $(READY)  ## how fast, beside how it is usually done (a quarter to half an hour)
	$(BIN)/python benchmarks/bench.py

stress: $(READY)  ## make stress NAME=x: notebook 05, a run on corrupted pictures
	$(BIN)/python -m blipvqa stress $(CONFIG) $(GIVEN)

predict: $(READY)  ## make predict NAME=x INPUT=table-or-folder OUTPUT=out.csv [QUESTIONS=list.txt] [SKIP=1]
	$(BIN)/python -m blipvqa predict $(GIVEN) --input "$(INPUT)" --output "$(OUTPUT)" $(if $(QUESTIONS),--questions "$(QUESTIONS)") $(if $(SKIP),--skip)

export: $(READY)  ## make export NAME=x FORM=int8: a smaller model for a CPU, in outputs/x/model-int8
	$(BIN)/python -m blipvqa export --name "$(NAME)" --form $(or $(FORM),int8)

push: $(READY)  ## make push NAME=x REPO=owner/name [SEND=1]: a run's model to the Hub; shows what, sends with SEND=1
	$(BIN)/python -m blipvqa push --name "$(NAME)" --repo "$(REPO)" $(if $(SEND),--send)

page: $(READY)  ## make page NAME=x [NEAREST=run]: a page on this machine, to ask a run about your own pictures
	$(BIN)/python -m blipvqa page $(GIVEN) $(if $(NEAREST),--nearest $(NEAREST))

sweep: $(READY)  ## make sweep CONFIG=configs/x.yaml GRID="seed=0,1,2" [NAME=x] [SET="…"] [DEVICES=0,1]: a run for each point
	$(BIN)/python -m blipvqa sweep $(or $(CONFIG),configs/demo.yaml) $(GIVEN) --grid $(GRID) $(if $(DEVICES),--devices "$(DEVICES)")

board: $(READY)  ## every run of outputs/ on one page, seeds of one recipe pooled
	$(BIN)/python -m blipvqa board

compare: $(READY)  ## make compare RUNS="a b": two runs side by side
	$(BIN)/python -m blipvqa compare $(RUNS)

shards: $(READY)  ## make shards SOURCE=folder-or-tars FOLDER=new [SET="data.on_error=skip"]: any source as parquet files, for a million rows
	$(BIN)/python -m blipvqa shards "$(SOURCE)" "$(FOLDER)" $(if $(SET),--set "$$SET")

clean-cache: $(READY)  ## remove resized images and drawn data
	$(BIN)/python -m blipvqa clean-cache
