# SPDX-License-Identifier: BSD-3-Clause
"""The engine's side of PROTOCOL.md, for engines written in Python.

An engine subclasses Engine and ends with `main(MyEngine)`:

    class Mine(Engine):
        name, version = "mine", "1.0"
        variants = ["plain same=flash forms=causal,bidirectional"]

        def plan(self, plan, q, k, v):       # inputs into the form one would have them in
            self.q, self.k, self.v = q, k, v

        def call(self):                      # timed: returns the output
            return ...
"""
import mmap
import os
import sys
import time
from types import SimpleNamespace

import numpy as np


class Refusal(Exception):
    """Raised in plan(): this variant does not exist in that shape, and why."""


class Engine:
    name, version, variants = "", "", []
    grouped = False  # takes fewer heads of k and v than of q

    def plan(self, plan, q, k, v):
        """Takes q (batch, heads, n_q, d), k and v (batch, kv_heads, n_k, ...) as arrays on the
        shared file, of float32, float16, or uint16 holding bf16; makes of them what a call
        needs and touches all inputs. Raises Refusal."""
        raise NotImplementedError

    def prepare(self):
        """Whatever is done once: random matrices, compilation."""

    def call(self):
        """One call, complete when it returns: an array (batch, heads, n_q, d_v) of the type of
        the inputs, or what self.array() makes one of."""
        raise NotImplementedError

    def array(self, out):
        return np.asarray(out)

    def peak(self):
        """High-water mark of this process in bytes."""
        with open("/proc/self/status", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")), -1)


def _value(key, text):
    for kind in () if key in ("variant", "type", "file", "cpus") else (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _parse(words):
    """key=value words as a namespace; those of `arg.` in one of their own."""
    plan, arg = {}, {}
    for word in words:
        key, _, text = word.partition("=")
        (arg if key.startswith("arg.") else plan)[key.removeprefix("arg.")] = _value(key, text)
    plan["cpus"] = [int(c) for c in plan["cpus"].split(",") if c]
    return SimpleNamespace(**plan, arg=SimpleNamespace(**arg))


class _Session:
    def __init__(self, engine):
        self.engine, self.out = engine, None

    def plan(self, words):
        p = _parse(words)
        if p.kv_heads != p.heads and not self.engine.grouped:
            raise Refusal("k and v have as many heads as q here")
        kind = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}[p.type]
        with open(p.file, "r+b") as file:
            memory = mmap.mmap(file.fileno(), p.bytes)

        def view(offset, *shape, kind=kind):
            return np.frombuffer(memory, kind, int(np.prod(shape)), offset).reshape(shape)

        self.out = view(p.out, p.batch, p.heads, p.n_q, p.d_v)
        if p.state_bytes:  # what the definition drew at random: heads x state_bytes
            p.state = view(p.state, p.heads, p.state_bytes // 4, kind=np.float32)
        self.engine.plan(p, view(p.q, p.batch, p.heads, p.n_q, p.d),
                         view(p.k, p.batch, p.kv_heads, p.n_k, p.d),
                         view(p.v, p.batch, p.kv_heads, p.n_k, p.d_v))
        return "ok"

    def prepare(self, words):
        self.engine.prepare()
        return "ok"

    def run(self, words):
        call, out = self.engine.call, None
        cpu, start = time.process_time_ns(), time.monotonic_ns()
        for _ in range(int(words[0])):
            out = call()
        end = time.monotonic_ns()
        cpu = time.process_time_ns() - cpu
        if out is not None:
            self.out[...] = self.engine.array(out)
        total = int(self.out.view(np.uint16).sum(dtype=np.uint64))
        return f"ran {start} {end} {cpu} {total}"

    def memory(self, words):
        return f"memory {self.engine.peak()}"


def main(make):
    """Speaks the protocol until `bye`. stdout is the protocol's; prints go to stderr."""
    said = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    engine = make()
    session = _Session(engine)
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "hello":
            answer = "\n".join([f"engine 1 {engine.name} {engine.version}"]
                               + [f"variant {v}" for v in engine.variants] + ["end"])
        elif verb == "bye":
            os._exit(0)
        else:
            try:
                answer = getattr(session, verb)(words)
            except Refusal as why:
                answer = f"no {why}"
            except MemoryError as why:
                answer = f"oom {why}"
            except Exception as why:  # the harness turns it into the status of the cell
                answer = f"error {type(why).__name__}: {why}"
                import traceback
                traceback.print_exc()
            answer = " ".join(answer.split("\n"))[:4000]
        said.write(answer + "\n")
        said.flush()
