# SPDX-License-Identifier: BSD-3-Clause
"""fast-transformers of Idiap, on PyTorch: its own C++ kernels for causal linear attention, local
windows and clustering."""
import importlib.metadata
import math
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "torch"))
from torch_engine import Refusal, TorchEngine, main  # noqa: E402

PACKAGE = "pytorch-fast-transformers"
PART = f"package={PACKAGE} version={importlib.metadata.version(PACKAGE)}"


class FastTransformers(TorchEngine):
    name = "torch"
    variants = [
        f"linear-elu {PART} same=linear-elu:eps=0.000001 forms=causal,bidirectional",
        f"window {PART} same=sliding-window forms=causal,bidirectional params=left,right",
        f"clustered {PART} like=clustered forms=bidirectional params=c,topk_keys,iters",
    ]

    def _module(self, module):
        from fast_transformers.masking import FullMask, LengthMask, TriangularCausalMask
        torch, p = self.torch, self.p
        if p.n_q != p.n_k:
            raise Refusal("n_q is n_k here: lengths are given once")
        # (batch, n, heads, d), as these modules take it.
        qkv = [x.transpose(1, 2).contiguous() for x in self.qkv]
        lengths = LengthMask(torch.full((p.batch,), p.n_k), max_len=p.n_k)
        mask = TriangularCausalMask(p.n_q) if p.causal else FullMask(p.n_q)
        module = module.eval()
        self.array = lambda out: out.transpose(1, 2).numpy()
        return lambda q, k, v: module(*qkv, mask, lengths, lengths)

    def make_linear_elu(self, plan):
        from fast_transformers.attention import CausalLinearAttention, LinearAttention
        return self._module((CausalLinearAttention if plan.causal else LinearAttention)(plan.d))

    def make_window(self, plan):
        from fast_transformers.attention import LocalAttention
        left, right = plan.arg.left, plan.arg.right
        if not plan.causal and left != right:
            raise Refusal("left and right are one size in this package")
        return self._module(LocalAttention(2 * left + 1, softmax_temp=plan.scale, attention_dropout=0.0))

    def make_clustered(self, plan):
        from fast_transformers.attention import ImprovedClusteredAttention
        if abs(plan.scale * math.sqrt(plan.d) - 1) > 1e-6:
            raise Refusal("the scale is fixed at 1/sqrt(d)")
        return self._module(ImprovedClusteredAttention(
            plan.arg.c, iterations=plan.arg.iters, topk=plan.arg.topk_keys, attention_dropout=0.0))


if __name__ == "__main__":
    main(FastTransformers)
