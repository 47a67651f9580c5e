# The targets that a person or CI calls. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
# Which data set `run` takes: a name of configs/, or a YAML's path. Empty: housets, simulated where its file is absent.
DATASET ?=
# Raw rows that `run` takes, a file or an address; empty: the data set's own.
DATA ?=
# The stack of docs/deploy.md, and the commit whose images it gets.
STACK ?= housecast
TAG ?= $(shell git rev-parse HEAD)
# OpenMP threads that wait should sleep: spinning ones starve each other on a busy machine.
export OMP_WAIT_POLICY ?= PASSIVE
# Hundreds of processes import the same packages: compiled once, they start in two thirds of the time.
unexport PYTHONDONTWRITEBYTECODE
# What the stages leave in data/ and, of a data set other than housets, in data/<name>/, where its raw file may be too.
MADE := raw processed features model downloads .stages
DATASETS := $(basename $(notdir $(wildcard configs/*.yaml)))
# uv is installed beside the project when the machine has none, so that nothing outside this folder changes.
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen
STAND_IN := $(wildcard ../shared/tools/images.sh)

.PHONY: help install run retrain monitor serve test infra-test workflows-test images images-test push deploy batch lint types contracts format benchmarks benchmarks-smoke simulate-year screenshots mlflow clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.tools/bin/uv:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "housecast needs Python 3.11 or newer"; exit 2; }
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet uv

install: $(if $(filter .tools/bin/uv,$(UV)),.tools/bin/uv) ## install uv if missing and the locked environment
	$(UV) sync --frozen

run: install ## from raw rows (or a simulated market) to a model and predictions; DATASET=iris: another data set
	$(RUN) python -m src.pipeline $(if $(DATASET),--dataset '$(DATASET)') $(if $(DATA),--data '$(DATA)')

retrain: install ## a challenger on the newest rows, if one is due, which must beat the champion; DATASET=housets DATA=file
	$(RUN) python -m src.monitoring.retrain $(if $(DATASET),--dataset '$(DATASET)') $(if $(DATA),--data '$(DATA)')

monitor: install ## report on the months whose predictions changed, remove old records, look at the rules; DATASET=housets
	$(RUN) python -m src.monitoring.report $(if $(DATASET),--dataset '$(DATASET)')
	$(RUN) python -m src.monitoring.log prune
	$(RUN) python -m src.monitoring.check $(if $(DATASET),--dataset '$(DATASET)')

serve: install ## the API on http://127.0.0.1:8000 and the dashboard on http://127.0.0.1:8501; Ctrl-C ends both
	@[ -n "$(MODEL_STORE)$(S3_BUCKET)" ] || [ -f models/housets/current.json ] || $(RUN) python -m src.pipeline --dataset housets
	@$(RUN) python -m src.api.main & api=$$!; trap 'kill $$api 2>/dev/null; wait $$api' EXIT; $(RUN) streamlit run app.py

test: install lint types contracts ## everything that CI runs
	@# In the order of their names, so that the long files, of integration tests, come first and the short ones fill up the end.
	$(RUN) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

infra-test: install ## the AWS stack and the Kubernetes manifests; needs neither
	$(RUN) python -m pytest tests/infra

workflows-test: install ## the workflows of GitHub Actions, and what they run
	$(RUN) python -m pytest tests/workflows

lint: install ## style
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: install ## static types
	$(RUN) mypy

contracts: install ## a module imports only from the floors below its own
	$(RUN) lint-imports

format: install ## mend the style
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

images: ## build both images, with Docker or, where no engine runs, with buildah
	@# A machine without an engine has no registry either: a script beside the project makes the base image.
	@docker info >/dev/null 2>&1 || [ -z "$(STAND_IN)" ] || bash $(STAND_IN) base
	infra/images.sh

images-test: install images ## run both images from the bucket to a price, a page and a batch (needs Chromium)
	$(RUN) python -m pytest tests/images

push: install ## push the images to the stack's repositories, tagged with the commit; STACK=housecast
	$(RUN) python infra/push.py '$(STACK)' '$(TAG)'

deploy: install ## move the stack to the images of a commit, or leave it as it was (needs API_KEY); STACK=housecast
	$(RUN) python infra/deploy.py '$(STACK)' '$(TAG)' --smoke

batch: install ## run the batch on ECS to its end; STACK=housecast DATASET=housets
	$(RUN) python infra/batch.py '$(STACK)' $(if $(DATASET),--dataset '$(DATASET)')

benchmarks: install ## measure what the README claims (some 30 minutes; needs wrk)
	$(RUN) python -m benchmarks

benchmarks-smoke: install ## run every benchmark on small data, for CI
	$(RUN) python -m benchmarks --smoke

simulate-year: install ## a year in which a market goes wrong: what is noticed when, and what retraining saves (10 minutes)
	$(RUN) python -m src.simulated_year

screenshots: install ## pictures of the dashboard, into docs/images (needs Chromium)
	$(RUN) python -m tests.browser.screenshots $(URL)

mlflow: install ## open the experiment tracker on http://127.0.0.1:5000
	$(RUN) mlflow ui

clean: ## remove what the commands made; models, predictions and the tracker's database stay
	rm -rf $(addprefix data/,$(MADE)) $(foreach name,$(DATASETS),$(addprefix data/$(name)/,$(MADE))) reports build *.egg-info
