# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch: scaled_dot_product_attention by backend, FlexAttention, and what one writes oneself."""
from torch_engine import Refusal, TorchEngine, main, same_lengths


class Torch(TorchEngine):
    name, grouped = "torch", True
    variants = [
        "sdpa-flash same=flash forms=causal,bidirectional,cross types=bf16",
        "sdpa-math same=full forms=causal,bidirectional,cross types=bf16",
        "eager same=full forms=causal,bidirectional,cross types=bf16",
        "flex same=flash forms=causal,bidirectional",
        "flex-window same=sliding-window forms=causal,bidirectional params=left,right",
        "flex-block same=block-local forms=causal,bidirectional params=b,back,fwd",
        "linear-elu same=linear-elu forms=causal,bidirectional params=eps",
    ]

    def _sdpa(self, plan, backend):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        import torch.nn.functional as F
        same_lengths(plan)
        only = getattr(SDPBackend, backend)

        def f(q, k, v):
            with sdpa_kernel(only):
                return F.scaled_dot_product_attention(
                    q, k, v, is_causal=bool(plan.causal), scale=plan.scale,
                    enable_gqa=plan.kv_heads != plan.heads)
        return f

    def make_sdpa_flash(self, plan):
        return self._sdpa(plan, "FLASH_ATTENTION")

    def make_sdpa_math(self, plan):
        return self._sdpa(plan, "MATH")

    def make_eager(self, plan):
        torch = self.torch
        hidden = None
        if plan.causal:
            hidden = ~torch.ones(plan.n_q, plan.n_k, dtype=torch.bool).tril(plan.n_k - plan.n_q)

        def f(q, k, v):
            if plan.kv_heads != plan.heads:
                k, v = (x.repeat_interleave(plan.heads // plan.kv_heads, 1) for x in (k, v))
            s = (q * plan.scale) @ k.transpose(-1, -2)
            if hidden is not None:
                s.masked_fill_(hidden, -torch.inf)
            return torch.softmax(s, -1) @ v
        return f

    # FlexAttention is fast only when compiled, which needs a C++ compiler here;
    # torch keeps the result on disk, so that later processes find it.

    def _flex(self, plan, mask):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention
        torch = self.torch
        self._one_head_each(plan)
        self.block = None
        if mask is not None:
            self.block = create_block_mask(mask, None, None, plan.n_q, plan.n_k, device="cpu")
        self.compiled = torch.compile(flex_attention, dynamic=False, fullgraph=True)
        return lambda q, k, v: self.compiled(q, k, v, block_mask=self.block, scale=plan.scale)

    def make_flex(self, plan):
        return self._flex(plan, (lambda b, h, i, j: j <= i) if plan.causal else None)

    def make_flex_window(self, plan):
        left, right = plan.arg.left, plan.arg.right
        return self._flex(plan, lambda b, h, i, j: (j >= i - left) & (j <= i + right))

    def make_flex_block(self, plan):
        size, back, fwd = plan.arg.b, plan.arg.back, plan.arg.fwd
        if plan.causal:
            return self._flex(plan, lambda b, h, i, j: (j // size >= i // size - back) & (j <= i))
        return self._flex(plan, lambda b, h, i, j: (j // size >= i // size - back)
                          & (j // size <= i // size + fwd))

    def make_linear_elu(self, plan):
        """As in the paper's own Python: sums over all keys, or running sums."""
        import torch.nn.functional as F
        torch, eps = self.torch, plan.arg.eps
        self._one_head_each(plan)

        def full(q, k, v):
            q, k = F.elu(q) + 1, F.elu(k) + 1
            den = torch.einsum("bhnd,bhd->bhn", q, k.sum(-2)) + eps
            return torch.einsum("bhnd,bhde,bhn->bhne", q, k.transpose(-1, -2) @ v, 1 / den)

        def causal(q, k, v):
            q, k = F.elu(q) + 1, F.elu(k) + 1
            den = (q * k.cumsum(-2)).sum(-1) + eps
            sums = torch.einsum("bhnd,bhne->bhnde", k, v).cumsum(-3)
            return torch.einsum("bhnd,bhnde,bhn->bhne", q, sums, 1 / den)

        return causal if plan.causal else full

    @staticmethod
    def _one_head_each(plan):
        if plan.kv_heads != plan.heads:
            raise Refusal("k and v have as many heads as q here")

    def prepare(self):
        if self.p.variant.startswith("flex"):
            self.call()


if __name__ == "__main__":
    main(Torch)
