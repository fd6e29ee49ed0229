# The two commands: `make demo` and `make test`. Both make the environment and the build they need.
#
#   make demo      train, scale and compare on the embedded digits; look at outputs/demo/report.html
#   make test      all tests but the slow ones           make test-all  the slow ones too
#   make lint      ruff, mypy, clang-format, warnings     make format    let them rewrite
#   make bench     benchmarks beside the others           make gpu       build, test and measure on a CUDA machine
#   make sanitize  the native core on drawn arguments under the address, undefined-behaviour and thread sanitizers
#   make neon      the same on aarch64, emulated          make instructions      three kernels' instructions are as recorded
#                                                         make instructions-update   records them anew
#   make numerics  errors beside exact references, and the tables of docs/numerics.md
#   make wheel     a wheel in dist/                       make clean     remove what was built
#
# PYTHON is the interpreter the environment is made from (3.10 or newer); PYSCALE_CUDA=ON|OFF|AUTO as in setup.py.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
NATIVE := CMakeLists.txt setup.py $(shell find csrc -path csrc/checks -prune -o -type f -print)
CXX_FILES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.inl' -o -name '*.cu' -o -name '*.cuh')

.PHONY: env build demo test test-all lint lint-native format bench numerics wheel clean gpu gpu-build gpu-test gpu-sanitize gpu-bench \
    sanitize sanitize-address sanitize-thread neon instructions instructions-update
.DELETE_ON_ERROR:

env: $(VENV)/.installed
build: $(VENV)/.built

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "pyscale needs Python 3.10 or newer, not " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	touch $@

# constraints.txt pins torch to its CPU wheel: an open request would bring several gigabytes of CUDA packages.
# The emulator is for `test`: the CUDA kernels on the CPU.
# setuptools warns of folders beside the package, which an editable install from the project's root is meant to have.
$(VENV)/.built: $(VENV)/.installed $(NATIVE)
	PYSCALE_EMULATOR=ON PYTHONWARNINGS='ignore:::setuptools.command.editable_wheel' \
	    $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

demo: build
	$(BIN)/pyscale demo --out outputs/demo

# The build above has the emulator, so a test run without it would be a mistake: tests/conftest.py refuses.
test: build
	PYSCALE_EMULATOR=ON $(BIN)/python -m pytest -m 'not slow and not cuda'

test-all: build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group clusters
	PYSCALE_EMULATOR=ON $(BIN)/python -m pytest -m 'not cuda'

lint: build lint-native
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)

# The native core once more, with every warning an error; its own build folder, so `build` keeps its objects. One GPU
# architecture is enough: what CI installs (`build`) is compiled for all of them, with warnings as errors too.
lint-native: $(VENV)/.installed
	$(BIN)/cmake -G Ninja -S . -B build/lint -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Release \
	    -DPYSCALE_WERROR=ON -DPYSCALE_CUDA=$(or $(PYSCALE_CUDA),AUTO) -DPYSCALE_CUDA_ARCHS=80-real \
	    -DPython_EXECUTABLE=$(abspath $(BIN))/python -Dpybind11_DIR=$$($(BIN)/python -m pybind11 --cmakedir) --log-level=WARNING
	$(BIN)/cmake --build build/lint

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CXX_FILES)

# ---- The native core without Python: csrc/checks. DRAWS cases are drawn, the first from SEED ----
DRAWS ?= 1500
SEED ?= 1
CHECKS_CMAKE = $(BIN)/cmake -G Ninja -S . -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DCMAKE_BUILD_TYPE=Release \
    -DPYSCALE_CHECKS=ON -DPYSCALE_CUDA=OFF -DPYSCALE_WERROR=ON --log-level=WARNING
FUZZ = --cases $(DRAWS) --seed $(SEED)

sanitize: sanitize-address sanitize-thread

sanitize-address: $(VENV)/.installed
	$(CHECKS_CMAKE) -B build/checks-address -DPYSCALE_SANITIZE=address,undefined -DPYSCALE_NARROW=ON
	$(BIN)/cmake --build build/checks-address --target fuzz
	build/checks-address/fuzz $(FUZZ)

# Threads are used by the larger cases alone, and each takes longer.
sanitize-thread: $(VENV)/.installed
	$(CHECKS_CMAKE) -B build/checks-thread -DPYSCALE_SANITIZE=thread
	$(BIN)/cmake --build build/checks-thread --target fuzz
	TSAN_OPTIONS=halt_on_error=1 build/checks-thread/fuzz --cases $$(($(DRAWS) / 5)) --seed $(SEED)

neon: $(VENV)/.installed
	$(CHECKS_CMAKE) -B build/checks-neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static
	$(BIN)/cmake --build build/checks-neon --target fuzz
	qemu-aarch64 build/checks-neon/fuzz $(FUZZ)

# Counts hold for one compiler: with another nothing is compared, which REQUIRE=1 makes an error.
instructions: COUNTING = $(if $(REQUIRE),--require)
instructions-update: COUNTING = --update
instructions instructions-update: $(VENV)/.installed
	$(CHECKS_CMAKE) -B build/checks
	$(BIN)/cmake --build build/checks --target instructions
	$(BIN)/python csrc/checks/instructions.py build/checks/instructions \
	    $$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' build/checks/CMakeCache.txt) $(COUNTING)

# The packages that are compared with bring no other torch: constraints.txt pins it. `make bench CASES=gram RESUME=1`
# takes what is named so, without the cases that this commit has rows of; the page shows what was found, whatever fails.
bench: build
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m pytest benchmarks --benchmark-only $(if $(CASES),-k '$(CASES)') $(if $(RESUME),--resume); \
	    status=$$?; $(BIN)/python -m benchmarks.page && exit $$status

# One thread: its figures then hold for any number of cores.
numerics: build
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.numerics

wheel: env
	$(BIN)/python -m build --wheel --outdir dist .

# ---- A machine with a GPU and no package registry: its own Python, torch, pybind11, cmake, ninja and pytest ----
# All stages, whichever fail; or one of them. What they do, and their time limits: .ci/gpu
gpu:
	PYTHON=$(PYTHON) bash .ci/gpu

gpu-build gpu-test gpu-sanitize gpu-bench: gpu-%:
	PYTHON=$(PYTHON) bash .ci/gpu $*

clean:
	rm -rf build dist *.egg-info pyscale/_native*.so pyscale/_emulated*.so $(VENV)/.built
