# attnbench. `make help` lists the targets; `make report` and `make test` are
# the two that a newcomer needs.

MODE   ?= release
BUILD  ?= build/$(notdir $(CC))-$(MODE)
PREFIX ?= /usr/local
VENV   ?= .venv
PYTHON ?= python3
SWEEP  ?= harness/sweeps/default.ini
PEERS_SWEEP ?= harness/sweeps/peers.ini
PEERS_OUT   ?= results/peers
ifndef OUT
OUT    := results/$(shell date -u +%Y%m%dT%H%M%SZ)-default
endif
ifndef BENCH
BENCH  := results/$(shell date -u +%Y%m%dT%H%M%SZ)-kernels
endif
ifndef GROWTH
GROWTH := results/$(shell date -u +%Y%m%dT%H%M%SZ)-complexity
endif
DEST    = $(DESTDIR)$(PREFIX)
# Of builds within a target, unless make was given a number.
JOBS    = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 2))

PKGS   := openblas hwloc jansson inih
ARCH   := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))

WARN   := -Wall -Wextra -Wpedantic -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
          $(if $(CI),-Werror)
# -O2 and no contraction: what the C says is what runs. Only the SIMD files
# contract a*b+c.
CFLAGS ?= -O2 -g
STRICT := -std=c17 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -pthread -MMD -MP $(WARN)
LDLIBS = $(shell pkg-config --libs $(PKGS)) -lm -ldl -pthread
LDFLAGS += -rdynamic
ifeq ($(MODE),asan)
CFLAGS  := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
endif
ifeq ($(MODE),fuzz)
CFLAGS  := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS += -fsanitize=address,undefined
endif

# A SIMD file is compiled for its instruction set by its suffix, and its table
# lists the same features for the check at run time. Nothing else is.
SIMD_FLAGS := -O3 -ffp-contract=fast
%_avx2.o:   ISA_FLAGS := $(SIMD_FLAGS) -mavx2 -mfma -mf16c
%_avx512.o: ISA_FLAGS := $(SIMD_FLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
%_avx512bf16.o: ISA_FLAGS := $(SIMD_FLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mfma -mprefer-vector-width=512
%_neon.o:   ISA_FLAGS := $(SIMD_FLAGS)
# Normal numbers, four at a time: for inputs of a million tokens.
%/engine/rng.o: ISA_FLAGS := -O3
# Products of matrices in double: most of what the accuracy pass takes.
$(BUILD)/attention/oracle/%.o: ISA_FLAGS := -O3
ISA_SKIP   := $(if $(filter x86_64,$(ARCH)),%_neon.c,$(if $(filter aarch64,$(ARCH)),%_avx2.c %_avx512.c %_avx512bf16.c,%_avx2.c %_avx512.c %_avx512bf16.c %_neon.c))

ATTN    := $(filter-out $(ISA_SKIP) attention/plugin/%,$(wildcard attention/*.c attention/*/*.c))
HARNESS := $(filter-out harness/main.c,$(wildcard harness/*.c)) $(wildcard datasets/*.c)
FUZZERS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/fuzz_*.c))
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
objects  = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all help deps test tests fuzzers test-slow check fuzz kills bench-aa bench-coverage bench-harness report figures plugins peers peers-report bench complexity catalogue asan tidy clean install uninstall
.DEFAULT_GOAL := all
.PRECIOUS: $(BUILD)/%.o

all: attnbench                    ## build ./attnbench

help:                             ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## */  \1\t/p' Makefile | expand -t 16

# What follows deps runs in a make of its own, which sees what was installed.
deps:                             ## install what is missing, after saying so
	@harness/deps.sh
	@$(MAKE) --no-print-directory $(VENV)/.stamp

$(VENV)/.stamp: plots/requirements.txt
	@echo "deps: Python packages into $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -r plots/requirements.txt
	@touch $@

report: deps                      ## the default sweep: CSV, figures and report.html
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench run $(SWEEP) --out $(OUT) || test $$? = 1
	@./attnbench report $(OUT) --formats pdf,svg,png

figures: $(VENV)/.stamp           ## the figures of README.md again, from results/sample
	@$(VENV)/bin/python -m plots figures results/sample --flat --formats svg --only time,memory,error,pareto

test: deps                        ## all tests
	@$(MAKE) $(JOBS) --no-print-directory all tests
	@tests/run.sh $(BUILD)/tests $(VENV)/bin/python

tests: $(TESTS)

fuzzers: $(FUZZERS)
$(BUILD)/tests/fuzz_%: LDFLAGS += -fsanitize=fuzzer

check: deps                       ## what CI runs beside the tests: both compilers, sanitizers, other CPUs
	@harness/deps.sh --check
	@VENV=$(VENV) tests/check.sh

bench: deps                       ## the kernels against the machine's ceilings, and patterns against flash
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench run harness/sweeps/kernels.ini --out $(BENCH) || test $$? = 1
	@$(VENV)/bin/python -m plots.kernels $(BENCH)

complexity: deps                  ## does time grow as the declared costs and operations do?
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench run harness/sweeps/complexity.ini --out $(GROWTH) || test $$? = 1
	@./attnbench list --format csv >$(GROWTH)/variants.csv
	@$(VENV)/bin/python -m plots.complexity $(GROWTH)

CATALOGUE := attention/README.md
catalogue: all                    ## the table of variants in attention/README.md again
	@{ sed '/^<!-- catalogue/q' $(CATALOGUE); ./attnbench list --format md; \
		sed -n '/^<!-- end of the catalogue/,$$p' $(CATALOGUE); } >$(CATALOGUE).new && mv $(CATALOGUE).new $(CATALOGUE)

plugins: $(BUILD)/include/attnbench/attn.h ## the example plug-ins, as far as compilers and libraries are here
	@attention/plugin/build.sh $(BUILD)/plugins $(BUILD)/include

$(BUILD)/include/attnbench/attn.h: attention/attn.h
	@mkdir -p $(@D)
	@cp $< $@

# Engines to compare with, each with what it needs in .venv-peers-NAME. One that
# cannot be set up here is missing from the table, not from the run.
PEERS := $(patsubst harness/peers/%/requirements.txt,%,$(wildcard harness/peers/*/requirements.txt))

peers:                            ## PyTorch, ONNX Runtime and other engines to compare with
	@for p in $(PEERS); do \
		$(MAKE) --no-print-directory peers-$$p || echo "peers: $$p could not be set up" >&2; \
	done

peers-%: .venv-peers-%/.stamp ;

# Made by a chain of patterns, which make would delete at its end.
.PRECIOUS: .venv-peers-%/.stamp

.venv-peers-%/.stamp: harness/peers/%/requirements.txt
	@echo "peers: $* into .venv-peers-$*"
	@$(PYTHON) -m venv --clear .venv-peers-$*
	@.venv-peers-$*/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

# It shares the environment of torch. With a CUDA compiler on the PATH it would
# want all of CUDA.
peers-fast-transformers: harness/peers/fast-transformers/requirements.txt peers-torch
	@cmp -s $< .venv-peers-torch/fast-transformers.txt || { \
		echo "peers: compiling fast-transformers into .venv-peers-torch"; \
		bin=$$PWD/.venv-peers-torch/bin; \
		$$bin/python -m pip install -q --disable-pip-version-check 'setuptools<81' wheel ninja && \
		PATH=$$bin:/usr/bin:/bin CFLAGS='-O3 -march=native' $$bin/python -m pip install -q \
			--disable-pip-version-check --no-build-isolation --no-deps -r $< && \
		cp $< .venv-peers-torch/fast-transformers.txt; }

peers-report: deps peers               ## our variants beside all engines: figure and table
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench run $(PEERS_SWEEP) --out $(PEERS_OUT) || test $$? = 1
	@./attnbench peers $(PEERS_OUT)

# They make their own load, and want a machine without any other.
bench-aa: deps                    ## one kernel under two names: how often is a verdict false? four minutes
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench selftest --aa

bench-coverage: deps              ## how often does an interval hold the long-run median? eight minutes
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench selftest --coverage

bench-harness: deps               ## what the harness costs: a sweep of some 500 quick cells, six minutes
	@$(MAKE) $(JOBS) --no-print-directory all
	@./attnbench selftest
	@rm -rf $(BUILD)/cost
	@./attnbench run --variant all --n 512..4096:x1.4142 --d 32,64 --profile quick --quiet \
		--out $(BUILD)/cost >/dev/null || test $$? = 1
	@$(PYTHON) -c 'import json, sys; t = json.load(open(sys.argv[1]))["timing"]; print("%.0f %% of %.0f s in calls" \
		% (100 * t["session_calls_s"] / t["session_wall_s"], t["session_wall_s"]))' $(BUILD)/cost/run.json

test-slow: deps                   ## what takes long: fits by many draws, every file fault, 40 random kills
	@$(MAKE) $(JOBS) --no-print-directory all tests
	@$(VENV)/bin/python -m pytest -q -p no:cacheprovider -n 2 -m slow tests

fuzz: deps                        ## hostile files: FUZZ_SECONDS (60) for each parser, from tests/corpus
	@tests/fuzz.sh build/fuzz $(or $(FUZZ_SECONDS),60)

kills: deps                       ## KILLS (200) random kills, resumed, compared with a run that was left alone
	@$(MAKE) $(JOBS) --no-print-directory all
	@KILLS=$(or $(KILLS),200) $(VENV)/bin/python -m pytest -q -p no:cacheprovider -m slow -k kill_at_any_moment tests/test_faults.py

asan:                             ## all C tests under AddressSanitizer and UBSan
	@$(MAKE) $(JOBS) --no-print-directory MODE=asan all tests
	@tests/run.sh build/$(notdir $(CC))-asan/tests

tidy:                             ## static analysis: hints, not a gate
	clang-tidy --quiet $(ATTN) $(HARNESS) -- $(STRICT) $(PKG_CFLAGS)

MAN     = $(DEST)/share/man/man1/attnbench.1
BASH    = $(DEST)/share/bash-completion/completions/attnbench
ZSH     = $(DEST)/share/zsh/site-functions/_attnbench
PC      = $(DEST)/share/pkgconfig/attnbench.pc
SHARED  = $(DEST)/share/attnbench
VERSION = $(shell sed -n 's/.*ATTNBENCH_VERSION "\(.*\)"/\1/p' harness/version.h)

install: all                      ## into $(DESTDIR)$(PREFIX): program, man page, completion, headers
	install -d $(DEST)/bin $(DEST)/include/attnbench $(dir $(MAN) $(BASH) $(ZSH) $(PC)) $(SHARED)/plots \
		$(SHARED)/results $(DEST)/share/doc/attnbench
	install -m 755 attnbench $(DEST)/bin
	install -m 644 attention/attn.h $(DEST)/include/attnbench
	install -m 644 LICENSE $(DEST)/share/doc/attnbench
	./attnbench help --as man >$(MAN)
	./attnbench help --as bash >$(BASH)
	./attnbench help --as zsh >$(ZSH)
	printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include' 'datadir=$${prefix}/share/attnbench' '' \
		'Name: attnbench' 'Description: interface of attention variants, for plug-ins of attnbench' \
		'Version: $(VERSION)' 'Cflags: -I$${includedir}' >$(PC)
	cp -R plots/. $(SHARED)/plots
	cp -R attention/plugin harness/peers harness/sweeps datasets/real $(SHARED)
	cp -R results/published $(SHARED)/results
	find $(SHARED) -name __pycache__ -prune -exec rm -rf {} +

uninstall:                        ## remove what install put there
	rm -rf $(SHARED) $(DEST)/include/attnbench $(DEST)/share/doc/attnbench
	rm -f $(DEST)/bin/attnbench $(MAN) $(BASH) $(ZSH) $(PC)

# Whichever compiler or mode was built last is the one that runs.
attnbench: $(BUILD)/attnbench FORCE
	@cmp -s $< $@ || { cp -f $< $@.new && mv -f $@.new $@; }
FORCE:

$(BUILD)/libattn.a: $(call objects,$(ATTN))
	@rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libharness.a: $(call objects,$(HARNESS))
	@rm -f $@ && $(AR) rcs $@ $^

# The whole library is linked in: plug-ins may call any of it.
$(BUILD)/attnbench: $(call objects,harness/main.c) $(BUILD)/libharness.a $(BUILD)/libattn.a
	@echo "ld $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(BUILD)/libharness.a -Wl,--whole-archive $(BUILD)/libattn.a -Wl,--no-whole-archive $(LDLIBS)

$(BUILD)/tests/%: $(BUILD)/tests/%.o $(BUILD)/libharness.a $(BUILD)/libattn.a
	@echo "ld $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs cmocka) $(LDLIBS)

# Here every allocation of ours can be refused.
comma := ,
$(BUILD)/tests/test_alloc: LDFLAGS += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc aligned_alloc posix_memalign strdup vasprintf)

# A plug-in that does what it is told not to, for tests that run workers.
$(BUILD)/tests/test_spawn: | $(BUILD)/tests/faulty.so
$(BUILD)/tests/%.so: tests/%.c Makefile
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(CFLAGS) $(STRICT) -fPIC -shared -o $@ $<

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "cc $<"
	@$(CC) $(CFLAGS) $(STRICT) $(ISA_FLAGS) $(PKG_CFLAGS) -c -o $@ $<

# run.json says what this was built with.
$(BUILD)/harness/build.o: STRICT += -DATTNBENCH_FLAGS='"$(CFLAGS)"'

PKG_CFLAGS = $(PKG_CFLAGS_ONCE)
PKG_CFLAGS_ONCE := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

clean:                            ## remove what was built (results stay)
	rm -rf build attnbench

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
