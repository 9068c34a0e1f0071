# Three commands for a fresh machine: `make install`, `make demo` and `make test`. Each makes `.venv` in the checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test system checks peers-if-possible peers-tested lint types gathered warmed unit screens console reference plots docs interop long month soak-kill test-pythons peers peers-dnp3 peers-openadr peers-oa3 peers-grid peers-pay peers-forecast peers-opendsm peers-opender peers-ray peers-flexmeasures peers-emhass peers-ews clean

install: $(VENV)/.run
	@echo "tieline is installed: $(CURDIR)/$(BIN)/tieline"

demo: $(VENV)/.run
	$(BIN)/tieline demo

# What waits for the network runs beside the linters and what the tests' workers would each make again. Then the tests,
# which want all cores, and last the browser's, which leave one to mypy. All of it stays below 20 minutes on two cores.
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j5 system lint peers-if-possible gathered warmed
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory -j2 types screens

# All at once: the peers wait for the network while the checks want a core.
checks: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j4 lint types peers-if-possible

# What the tests need of the machine: a browser, a protocol analyser, a broker and a database by other hands. Without them those tests are skipped, and say so.
system:
	@for tool in chromium tshark mosquitto mosquitto_pub; do command -v $$tool >/dev/null 2>&1 || \
	missing="$$missing $$(echo $$tool | sed 's/_pub/-clients/')"; done; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $$missing >/dev/null 2>&1; } || \
	echo "not installed:$$missing; the tests that need it will be skipped"

peers-if-possible:
	@$(MAKE) -s peers-tested || echo "not every peer could be installed; the tests that need it will be skipped"

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

# What pytest makes of the tests' files before it runs them is made once and kept, so that no worker makes it again. A
# file that can't be read is told of by the tests.
gathered: $(VENV)/.dev
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq > /dev/null 2>&1 || true

# What numba compiles is compiled once and kept, so that no two workers compile the same at the same time.
warmed: $(VENV)/.dev
	@$(BIN)/tieline demo --headless --devices 60 --for 60m > /dev/null 2>&1 || true
	@$(BIN)/python -m pytest tests/docs/test_docs_blocks.py -k "python_block and plan-a-home.md-0" > /dev/null 2>&1 || true

# A file on each worker, the longest first, a worker for each core: with one more, what waits for a served process waits
# for others instead.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")
unit: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not long and not browser" -n $(WORKERS) --dist=loadfile --no-loadscope-reorder

# What drives a browser: one after another, so that no page waits for another's.
screens: $(VENV)/.dev
	$(BIN)/python -m pytest -m "browser and not long" tests/console

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q "uv==0.13.9"

# Compiled once: where Python may not write bytecode, every start would else spend two seconds on it.
COMPILE := $(BIN)/python -m compileall -q src

$(VENV)/.run: $(VENV)/bin/python pyproject.toml
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e . && $(COMPILE) && touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python -e ".[dev]" && $(COMPILE) && touch $@ $(VENV)/.run

# The screens: built from console-web into the package; the result is committed, so that nobody needs Node to install.
console:
	cd console-web && npm ci --no-audit --no-fund && npm run build

# The reference pages that follow from the code.
reference: $(VENV)/.dev
	$(BIN)/python -m tieline.node.reference docs/reference

# The images of docs that its own blocks draw.
plots: $(VENV)/.dev
	$(BIN)/python tests/docs/drawn.py docs/do/notebook.md docs/images

# Every block of README and docs, those of long calculations too; `make test` runs all but these.
docs: $(VENV)/.dev
	$(BIN)/python -m pytest tests/docs

# Everything that takes minutes, and the cases of which `make test` runs the first alone: a million claims, a million
# ledger operations, 200 kills, more seeds, more faults of a kind, the long calculations of the docs.
long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long

# A month of simulated operation with faults, told day by day: a quarter of an hour. `make long` lives a day of it, too.
month: $(VENV)/.dev
	$(BIN)/python -m pytest -m long tests/month -s

soak-kill: $(VENV)/.dev
	$(BIN)/python -m pytest -m long tests/soak -s

# The package on each Python that it claims: it installs, the inner tests pass, and a seed gives one digest on all of them.
test-pythons: $(VENV)/.dev
	$(BIN)/python tests/pythons.py $(VENV)

# Peers by other hands, each in an environment of its own; then the tests that speak to them.
peers: peers-tested peers-opendsm peers-ray

# Those that `make test` meets; the others are for `make long` and the benches.
peers-tested: peers-dnp3 peers-openadr peers-oa3 peers-grid peers-pay peers-opender peers-ews

# A peer's environment, made anew: which Python, whose name, what it holds. By uv, which unpacks once what several want.
peer = $(BIN)/uv venv -q --clear --python "$(1)" $(VENV)-peers-$(2) && $(BIN)/uv pip install -q --python $(VENV)-peers-$(2)/bin/python $(3)

interop: $(VENV)/.dev peers
	$(BIN)/python -m pytest -m interop

peers-openadr: $(VENV)-peers-openadr/bin/python

PYTHON_3_12 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12*/bin/python3.12) $(shell command -v python3.12 2>/dev/null))
$(VENV)-peers-openadr/bin/python: | $(VENV)/bin/python
	$(call peer,$(PYTHON_3_12),openadr,"openadr3-client==2.4.2")

# A second OpenADR client, and the tester that makes calls up from an interface's own description.
peers-oa3: $(VENV)-peers-oa3/bin/schemathesis

$(VENV)-peers-oa3/bin/schemathesis: | $(VENV)/bin/python
	$(call peer,$(PYTHON),oa3,"python-oa3-client==0.5.0" "openadr3==0.5.0" "flask==3.1.3" "schemathesis==4.32.5" \
	"jsonschema==4.26.0")

# opendnp3 (C++), the independent DNP3 master of the interop tests: a process and a venv of its own.
peers-dnp3: $(VENV)-peers-dnp3/bin/python

$(VENV)-peers-dnp3/bin/python: | $(VENV)/bin/python
	$(call peer,$(PYTHON),dnp3,"yadnp3==3.2.1.4")

# pandapower and OpenDSS, the independent power flows that feeders are checked against: a process and a venv of their own.
peers-grid: $(VENV)-peers-grid/.two

$(VENV)-peers-grid/.two: | $(VENV)/bin/python
	$(call peer,$(PYTHON),grid,"pandapower==3.5.6" "dss-python==0.15.7") && touch $@

# Published schemas of ISO 20022 payments, which a package for SEPA carries: a venv of its own.
peers-pay: $(VENV)-peers-pay/bin/python

$(VENV)-peers-pay/bin/python: | $(VENV)/bin/python
	$(call peer,$(PYTHON),pay,--no-deps "sepaxml==2.7.0")

# statsforecast, beside which `tieline bench forecast` stands: a venv of its own, for the bench alone.
peers-forecast: $(VENV)-peers-forecast/bin/python

$(VENV)-peers-forecast/bin/python: | $(VENV)/bin/python
	$(call peer,$(PYTHON),forecast,"statsforecast==2.1.1")

# OpenDSM, whose hourly model stands beside ours on its own sample meters: a process and a venv of its own. What it needs
# of multimethod is older than the newest, which it does not say.
peers-opendsm: $(VENV)-peers-opendsm/.fit

$(VENV)-peers-opendsm/.fit: | $(VENV)/bin/python
	$(call peer,$(PYTHON),opendsm,"opendsm==1.2.7" "multimethod==1.12") && touch $@

# OpenDER, EPRI's model of one DER under IEEE 1547-2018, which our inverters are held to step by step: a venv of its own.
peers-opender: $(VENV)-peers-opender/.one

$(VENV)-peers-opender/.one: | $(VENV)/bin/python
	$(call peer,$(PYTHON),opender,"opender==2.2.0" "numpy==2.4.6" "pandas==3.1.1") && touch $@

# Ray, on which `tieline.rim.executors` may work: a venv of its own, as it is large.
peers-ray: $(VENV)-peers-ray/.one

$(VENV)-peers-ray/.one: | $(VENV)/bin/python
	$(call peer,$(PYTHON),ray,-e ".[ray]") && touch $@

# FlexMeasures and EMHASS, home schedulers beside which `tieline bench schedulers` stands: a venv each, for the bench
# alone. Both were tried on 3.12.
peers-flexmeasures: $(VENV)-peers-flexmeasures/.one

$(VENV)-peers-flexmeasures/.one: | $(VENV)/bin/python
	$(call peer,$(PYTHON_3_12),flexmeasures,"flexmeasures==1.0.1") && touch $@

peers-emhass: $(VENV)-peers-emhass/.one

$(VENV)-peers-emhass/.one: | $(VENV)/bin/python
	$(call peer,$(PYTHON_3_12),emhass,"emhass==0.18.7") && touch $@

# zeep and xmlsec, the SOAP client and the signatures of another make that the market's signed web service meets.
peers-ews: $(VENV)-peers-ews/.signed

$(VENV)-peers-ews/.signed: | $(VENV)/bin/python
	$(call peer,$(PYTHON),ews,"zeep==4.3.2" "xmlsec==1.3.17" "lxml==6.1.3") && touch $@

# The other Pythons that the package is for; the world must be the same to the bit in all of them.
pythons: $(VENV)-3.12/bin/python $(VENV)-3.13/bin/python

PYTHON_3_13 ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13) $(shell command -v python3.13 2>/dev/null))
$(VENV)-3.12/bin/python: $(VENV)/bin/python
	$(PYTHON_3_12) -m venv $(VENV)-3.12 && $(BIN)/uv pip install -q --python $@ -e .
$(VENV)-3.13/bin/python: $(VENV)/bin/python
	$(PYTHON_3_13) -m venv $(VENV)-3.13 && $(BIN)/uv pip install -q --python $@ -e .

clean:
	rm -rf $(VENV) $(VENV)-*
