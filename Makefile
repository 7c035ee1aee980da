# make demo and make test do all their set-up, given Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALLED := $(VENV)/.installed
DEMO := output/demo
# without a GPU, the small build: make demo TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
TORCH_ARGS ?=
RUN := $(BIN)/python -W ignore -m monai.bundle run
# threads that wait for one that another program holds up do not spin: docs/speed.md
export OMP_WAIT_POLICY ?= PASSIVE
# an environment of its own: MONAI Label pins others' versions
LABEL := .venv-label
LABEL_PIP := $(LABEL)/bin/python -m pip --disable-pip-version-check
LABEL_INSTALLED := $(LABEL)/.installed
# likewise: MONAI Deploy App SDK wants older packages
DEPLOY := .venv-deploy
DEPLOY_PIP := $(DEPLOY)/bin/python -m pip --disable-pip-version-check
DEPLOY_INSTALLED := $(DEPLOY)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs
MUTATION_INSTALLED := $(VENV)/.installed-mutation
# the modules that make mutation changes, all of them by default: make mutation MODULES=bundle/kspace.py
MODULES ?=
# what make night makes studies of: folders of pairs on one grid, or the phantom
CASES ?= 48
DATA ?=

.PHONY: bundle demo docs label-demo test test-long lint mutation benchmark night clean wheel deploy-demo

demo: $(INSTALLED) ## A picture by the bundle's weights in a minute; then train for minutes on a simulated phantom and compare
	@echo "First the weights that come with the bundle, on simulated heads: a picture in under a minute."
	@$(RUN) evaluating --config_file configs/evaluate.yaml --ckpt_path models/model.pt --split_file null \
		--pairs '$$data.find_pairs(@dataset_dir, @reference_contrast)[-2:]' --output_dir $(DEMO)/shipped
	@echo "Look at:" && ls $(DEMO)/shipped/*.png
	@echo "Now a network of your own is trained on other heads: about 5 minutes on 2 idle cores; its bar says what is" \
		"left. Ctrl-C stops it, and make demo goes on from there."
	@$(RUN) training --config_file "['configs/train.yaml', 'configs/variants/quick.yaml']" --output_dir $(DEMO)
	@$(RUN) evaluating --config_file configs/evaluate.yaml --training_dir $(DEMO)
	@echo "Low-res (LR) and super-res (SR) of heads that no training saw, by the network just trained and, in shipped, by" \
		"the bundle's weights; the errors have one scale in both:"
	@ls $(DEMO)/evaluation/*.png $(DEMO)/shipped/*.png
	@echo "The bundle's weights score lower here: they learnt from patients, any factor, window and reference, and have" \
		"never seen the phantom; the network above learnt it alone, at this factor alone. On patients it is worth little."

test: lint ## Lint, types and all quick tests
	$(BIN)/python -m pytest -m "not long"

test-long: $(INSTALLED) ## The tests that take minutes each
	$(BIN)/python -m pytest -m long

bundle: $(INSTALLED) ## Export the weights, pack the bundle for the Model Zoo as dist/<name>_v<version>.zip, and check it as the Zoo does
	@if [ -f models/model.pt ]; then \
		$(BIN)/python -W ignore -m monai.bundle ckpt_export --config_file configs/inference.yaml && \
		$(BIN)/python -W ignore -m bundle.tools.exporting; \
	fi
	@packed=$$($(BIN)/python -m bundle.tools.packing dist) && echo "$$packed" && \
		$(BIN)/python -m pytest -q tests/zoo/test_check.py --packed "$$packed"

wheel: $(INSTALLED) ## Build the package with weights and configs inside, for users who do not develop: dist/mcsr_bundle-<version>-py3-none-any.whl
	@rm -rf build/lib  # which would go into the wheel
	@$(PIP) wheel -q --no-deps -w dist .
	@ls dist/*.whl

mutation: $(MUTATION_INSTALLED) ## Change the code in small ways, and count the changes that no test notices: tens of minutes
	@nice $(BIN)/python tests/mutation/score.py $(MODULES)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(INSTALLED) ## Time, rate and memory of a training iteration, and time of the metrics, on this machine
	$(BIN)/python benchmarks/training_step.py medium
	$(BIN)/python benchmarks/metrics.py

night: $(INSTALLED) ## A night in a hospital in small, with every kind of fault: make night CASES=200 DATA=FOLDER
	$(BIN)/python benchmarks/night.py output/night --cases $(CASES) --data $(DATA)

label-demo: $(INSTALLED) $(LABEL_INSTALLED) ## Serve the bundle by MONAI Label, offline, and super-resolve a phantom by HTTP
	@$(BIN)/python -W ignore label/demo.py

deploy-demo: $(INSTALLED) $(DEPLOY_INSTALLED) ## Sharpen a phantom's DICOM study by the MONAI Deploy application, and compare
	@$(BIN)/python -W ignore deploy/demo.py

docs: $(DOCS_INSTALLED) ## Build the documentation as a site: build/site/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees -b html . build/site
	@echo "The site: build/site/index.html"

# torch comes first and alone: nothing else may choose another build of it
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4) and "Python 3.11.4 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt $(TORCH_ARGS) torch
	$(PIP) install -q -c constraints.txt -e ".[test,tracking,phantom]"
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(PIP) install -q -c constraints.txt -e ".[docs]"
	@touch $@

$(MUTATION_INSTALLED): $(INSTALLED)
	$(PIP) install -q -c constraints.txt -e ".[mutation]"
	@touch $@

# the bundle's dependencies without the bundle, which the server brings; and a stand-in for torchvision
$(LABEL_INSTALLED): label/requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LABEL)
	$(LABEL_PIP) install -q -c constraints.txt $(TORCH_ARGS) torch
	$(LABEL_PIP) install -q -c constraints.txt -e . scikit-image itk
	$(LABEL_PIP) uninstall -q -y mcsr-bundle
	$(LABEL_PIP) install -q --no-deps -r label/requirements.txt
	@echo "$(CURDIR)/label/stand_in" > "$$($(LABEL)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/stand_in.pth"
	@touch $@

$(DEPLOY_INSTALLED): deploy/requirements.txt pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY_PIP) install -q -c constraints.txt $(TORCH_ARGS) torch
	$(DEPLOY_PIP) install -q -c constraints.txt -e .
	$(DEPLOY_PIP) install -q --no-deps -r deploy/requirements.txt
	@touch $@

clean: ## Remove what demo and tests have made, not the environment
	rm -rf output data/phantom data/phantom_low_res eval dist build mutants
