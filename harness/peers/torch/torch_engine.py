# SPDX-License-Identifier: BSD-3-Clause
"""What engines on PyTorch share: threads, tensors, warming up, reading the result."""
import importlib.metadata
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, Refusal, main  # noqa: E402, F401

VERSION = importlib.metadata.version("torch")


class TorchEngine(Engine):
    """A variant is a method make_NAME(plan) that returns f(q, k, v)."""

    version = VERSION

    def plan(self, plan, q, k, v):
        import torch
        torch.set_num_threads(plan.threads)
        torch.set_num_interop_threads(1)
        torch.set_flush_denormal(True)
        torch.set_grad_enabled(False)
        self.torch, self.p = torch, plan
        kind = torch.bfloat16 if plan.type == "bf16" else torch.float32
        # Copies in memory of our own, as tensors usually are.
        self.qkv = [torch.from_numpy(x.copy()).view(kind) for x in (q, k, v)]
        self.f = getattr(self, "make_" + plan.variant.replace("-", "_"))(plan)
        # Code pages and thread pools of the libraries are no memory of the call.
        x = torch.ones(plan.threads * 64, 64, dtype=kind)
        torch.softmax(x @ x.T, -1).sum()

    def prepare(self):
        """Models that are compiled are compiled here."""

    def call(self):
        return self.f(*self.qkv)

    def array(self, out):
        out = out.reshape(self.p.batch, self.p.heads, self.p.n_q, self.p.d_v).contiguous()
        return (out.view(self.torch.uint16) if self.p.type == "bf16" else out).numpy()


def same_lengths(plan):
    """is_causal of PyTorch is aligned at the top left."""
    if plan.causal and plan.n_q != plan.n_k:
        raise Refusal("its causal mask is aligned at the top left, ours at the bottom right: "
                      "they differ where n_q is not n_k")


def state(engine, plan, *shape):
    """What our definition drew, one matrix a head, as a tensor."""
    return engine.torch.from_numpy(np.array(plan.state[:, :int(np.prod(shape))])).reshape(plan.heads, *shape)
