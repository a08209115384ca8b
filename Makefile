# make demo    set up, make videos and run the whole job on them: the report is demo/run/report/report.html
# make test    set up and run the tests
# make test-fast  the tests that need neither a Ray session nor a browser, and are quick: under a minute
# make proofs  tests that take minutes each: machines that come and go, killed runs and sweeps, torch on this CPU
# make launch  `ray up` on hosts made of namespaces, which fail and come back; for root, where sshd, ip and rsync are
# make lint    style, types and import directions, and whether a dependency has a known fault (`make audit`)
# make docs    the documentation site, with warnings as errors: build/site/index.html
# make wheel   what the machines of a cluster install, in dist/: see docs/tutorial/cluster.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv demo test test-fast proofs launch lint docs audit audit-renew wheel format requirements clean

help:
	@sed -n 's/^# //p' Makefile

venv: $(STAMP)

$(STAMP): pyproject.toml requirements/dev.txt requirements/jobs.txt requirements/uv.txt requirements/install.py
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 15) or sys.exit("Python 3.11 to 3.14 is needed, this is " + sys.version.split()[0] + "; choose another: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python requirements/install.py
	@touch $@

demo: $(STAMP)
	$(BIN)/vicc-ray make-videos demo/videos
	$(BIN)/vicc-ray run demo --videos demo/videos --out demo

# More than two processes would wait for each other. Files keep their order: those with few tests take longest, and one
# started last would run alone. A crashed test process is replaced.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 100
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-fast: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not ray and not browser and not slow" --ignore tests/pipelines

proofs: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest benchmarks/proofs

launch: $(STAMP)
	$(BIN)/python benchmarks/launch.py launch || [ $$? = 3 ]  # 3: this machine cannot, and it has said what is missing

lint: $(STAMP) audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

audit: $(STAMP)
	$(BIN)/python requirements/audit.py

audit-renew: $(STAMP)  # make audit-renew INDEX=address of PyPI's JSON API; look at what it adds to the list
	$(BIN)/python requirements/audit.py --renew --index "$(INDEX)"

PINNED := uv cluster aws gcp azure
wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m hatchling build -t wheel -d dist
	cp $(PINNED:%=requirements/%.txt) cluster/node/install.sh cluster/node/mount.sh dist

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Renew the pinned versions: for every Python from 3.11 on, with hashes, without the address of any index.
PIN := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate
COMPILE := $(PIN) --upgrade --universal --python-version 3.11
LINUX := $(PIN) --python-platform x86_64-manylinux_2_28 --constraint requirements/dev.txt
# The machines of a cluster are alike: Linux on x86-64 with Python 3.12 (cluster/*.yaml); versions as in dev.txt. What a
# cloud's head needs besides is pinned in a file of its own.
CLUSTER := $(LINUX) --python-version 3.12
# The tests of the job server (ray[default]) run on one Python: its yarl has no wheels for some of the others.
JOBS := $(LINUX) --python-version 3.11
requirements: $(STAMP)
	$(COMPILE) pyproject.toml --extra dev --output-file requirements/dev.txt
	echo uv | $(COMPILE) - --output-file requirements/uv.txt
	$(CLUSTER) pyproject.toml --extra cluster --output-file requirements/cluster.txt
	for cloud in aws gcp azure; do $(BIN)/python requirements/extra.py $$cloud | $(CLUSTER) - \
	  --constraint requirements/cluster.txt --output-file requirements/$$cloud.txt || exit 1; done
	$(JOBS) pyproject.toml --extra cluster --output-file requirements/jobs.txt

clean:
	rm -rf $(VENV) demo build dist
