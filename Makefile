# attnbench. `make help` lists the targets; `make report` and `make test` are
# the two that a newcomer needs.

MODE   ?= release
BUILD  ?= build/$(notdir $(CC))-$(MODE)
PREFIX ?= /usr/local
VENV   ?= .venv
PYTHON ?= python3
OUT    ?= results/default

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

# A SIMD file is compiled for its instruction set by its suffix, and its table
# lists the same features for the check at run time. Nothing else is.
SIMD_FLAGS := -O3 -ffp-contract=fast
%_avx2.o:   ISA_FLAGS := $(SIMD_FLAGS) -mavx2 -mfma
%_avx512.o: ISA_FLAGS := $(SIMD_FLAGS) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
%_neon.o:   ISA_FLAGS := $(SIMD_FLAGS)
ISA_SKIP   := $(if $(filter x86_64,$(ARCH)),%_neon.c,$(if $(filter aarch64,$(ARCH)),%_avx2.c %_avx512.c,%_avx2.c %_avx512.c %_neon.c))

ATTN    := $(filter-out $(ISA_SKIP),$(wildcard attention/*.c attention/*/*.c))
HARNESS := $(filter-out harness/main.c,$(wildcard harness/*.c)) $(wildcard datasets/*.c)
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
objects  = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all help deps test check report bench asan format tidy clean install
.DEFAULT_GOAL := all

all: attnbench                    ## build ./attnbench

help:                             ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## */  \1\t/p' Makefile | expand -t 12

attnbench: $(BUILD)/attnbench
	@cp -f $< $@.new && mv -f $@.new $@

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
