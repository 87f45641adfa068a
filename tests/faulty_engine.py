# SPDX-License-Identifier: BSD-3-Clause
"""An engine whose variants do what they are told not to; between faults each is the uniform
average of the visible values, computed correctly."""
import os
import pathlib
import signal
import sys
import time

import numpy as np

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "harness" / "peers"))
from attnbench_engine import Engine, Refusal, main  # noqa: E402

FAULTS = ["none", "refuse", "raise", "oom", "kill", "segv", "exit", "hang-plan", "hang-prepare", "hang",
          "stubborn", "garbage", "binary", "long", "silent", "half", "close", "child", "print", "nan",
          "unwritten", "outside", "mutate", "wrong", "sum", "clock", "past", "fast", "hog", "sleep"]


class Faulty(Engine):
    name, version = "faulty", "0"
    variants = [f"{fault} same=uniform forms=bidirectional,causal,cross" for fault in FAULTS]

    def plan(self, plan, q, k, v):
        self.p, self.k, self.v, self.fault = plan, k, v, plan.variant
        if self.fault == "refuse":
            raise Refusal("not today")
        if self.fault == "hang-plan":
            time.sleep(1000)

    def prepare(self):
        pids = os.environ.get("FAULTY_PIDS")
        if pids:
            with open(pids, "a", encoding="ascii") as file:
                print(os.getpid(), file=file)
        if self.fault == "hang-prepare":
            time.sleep(1000)
        if self.fault == "print":
            print("libraries print what they like", flush=True)
            os.system("echo and so do their children")
        if self.fault == "child" and os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(1000)

    def misbehave(self):
        fault = self.fault
        if fault == "raise":
            raise ValueError("no good\nat all")
        if fault == "oom":
            raise MemoryError("a million bytes too many")
        if fault in ("kill", "segv"):
            os.kill(os.getpid(), signal.SIGKILL if fault == "kill" else signal.SIGSEGV)
        if fault == "exit":
            os._exit(3)
        if fault in ("hang", "stubborn"):
            if fault == "stubborn":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1000)
        if fault == "hog":
            keep = []
            for _ in range(64):
                keep.append(np.ones(1 << 21))
                time.sleep(0.02)
        said = {"garbage": b"who goes there?\n", "binary": b"ran \0\1\2\n", "long": b"x" * 10000,
                "half": b"ran 1 2"}.get(fault)
        if said:
            os.write(OUT, said)
        if fault in ("silent", "half"):
            time.sleep(1000)
        if fault == "close":
            os.closerange(3, 256)
            time.sleep(1000)

    def call(self):
        self.misbehave()
        if self.fault in ("fast", "sleep"):
            time.sleep(0.02)
        n_q, n_k = self.p.n_q, self.p.n_k
        mean = np.cumsum(self.v, -2, dtype=np.float64)
        at = np.arange(n_q) + n_k - n_q if self.p.causal else np.full(n_q, n_k - 1)
        out = (mean[..., at, :] / (at + 1)[:, None]).astype(np.float32)
        if self.fault == "nan":
            out[..., -1, 0] = np.nan
        if self.fault == "mutate":
            self.k.flat[0] += 1
        if self.fault == "wrong":
            out *= np.float32(1.5)
        return out


def break_session():
    """Faults of the protocol itself."""
    import attnbench_engine
    session = attnbench_engine._Session
    plan, run = session.plan, session.run

    def planned(self, words):
        answer = plan(self, words)
        if self.engine.fault == "outside":  # where the shared file goes on after the output
            base = self.out.base
            while not isinstance(base, attnbench_engine.mmap.mmap):
                base = base.base if isinstance(base, np.ndarray) else base.obj
            self.after = np.frombuffer(base, np.float32, 1, int(words_of(words)["out"]) + self.out.nbytes)
        return answer

    def ran(self, words):
        fault = self.engine.fault
        word, start, end, cpu, total = run(self, words).split()
        start, end, total = int(start), int(end), int(total)
        if fault == "outside":
            self.after[...] = 1
        if fault == "unwritten" and words[0] != "0":
            self.out[..., 0, 0] = np.frombuffer(b"\xfb\xff\xfb\xff", np.float32)[0]
            total = int(self.out.view(np.uint16).sum(dtype=np.uint64))
        if fault == "sum":
            total += 1
        if fault == "clock":
            start, end = 12345, 23456
        if fault == "past":
            end = start - 1
        if fault == "fast":  # claims half of the time
            end -= (end - start) // 2
        return f"{word} {start} {end} {cpu} {total}"

    session.plan, session.run = planned, ran


def words_of(words):
    return dict(word.partition("=")[::2] for word in words)


if __name__ == "__main__":
    OUT = os.dup(1)
    break_session()
    main(Faulty)
