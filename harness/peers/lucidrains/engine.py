# SPDX-License-Identifier: BSD-3-Clause
"""The packages of lucidrains, on PyTorch: each as published, given q, k and v in place of the
projections of a layer, without what comes after the attention."""
import importlib.metadata
import math
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "torch"))
from torch_engine import Refusal, TorchEngine, main, state  # noqa: E402


def variant(name, package, rest):
    return f"{name} package={package} version={importlib.metadata.version(package)} {rest}"


def divides(plan, size, what):
    if plan.n_k % size:
        raise Refusal(f"n must be a multiple of {size}, {what}")


class Lucidrains(TorchEngine):
    name = "torch"
    variants = [
        variant("performer", "performer-pytorch",
                "same=performer:eps=0.0001 forms=causal,bidirectional params=m,ortho,lengths"),
        variant("linformer", "linformer", "same=linformer forms=bidirectional params=k,proj,shared"),
        variant("nystrom", "nystrom-attention", "same=nystrom forms=bidirectional params=m,iters"),
        variant("local", "local-attention",
                "same=block-local:back=1:fwd=1 forms=causal,bidirectional params=b,back,fwd"),
        variant("window", "local-attention",
                "same=sliding-window forms=causal,bidirectional params=left,right"),
        variant("reformer", "reformer-pytorch",
                "like=lsh:dedup=0 forms=causal,bidirectional params=rounds,chunk"),
        variant("linear-attention", "linear-attention", "same=efficient forms=bidirectional"),
        variant("linear-attention-causal", "linear-attention", "like=efficient forms=causal"),
    ]

    def make_performer(self, plan):
        from performer_pytorch import FastAttention
        attention = FastAttention(plan.d, nb_features=plan.arg.m, causal=bool(plan.causal))
        if abs(plan.scale * math.sqrt(plan.d) - 1) > 1e-6:
            raise Refusal("the scale is fixed at 1/sqrt(d)")
        if plan.heads > 1:
            raise Refusal("one random matrix serves all heads, here each has its own: heads must be 1")
        attention.projection_matrix.copy_(state(self, plan, plan.d, plan.arg.m)[0].T)
        return attention

    def make_linformer(self, plan):
        from linformer import LinformerSelfAttention
        torch, p, k = self.torch, plan, min(plan.arg.k, plan.n_k)
        if p.d != p.d_v or abs(p.scale * math.sqrt(p.d) - 1) > 1e-6:
            raise Refusal("d_v is d and the scale 1/sqrt(d) in this package")
        module = LinformerSelfAttention(p.heads * p.d, p.n_k, k=k, heads=p.heads).eval()
        if p.arg.proj == "avg":
            divides(p, k, "the projected length: segments have one size")
            at = torch.arange(p.n_k) // (p.n_k // k)
            e = f = torch.nn.functional.one_hot(at, k).float() * (k / p.n_k)
        else:
            if p.heads > 1:
                raise Refusal("one projection serves all heads, here each has its own: heads must be 1")
            both = state(self, p, 1 if p.arg.shared else 2, k, p.n_k)[0]
            e, f = both[0].T.contiguous(), both[-1].T.contiguous()
        module.proj_k.copy_(e)
        module.proj_v.copy_(f)
        for i, name in enumerate(("to_q", "to_k", "to_v")):
            delattr(module, name)
            setattr(module, name, lambda _, i=i: self.layer[i])
        module.to_out = torch.nn.Identity()
        self.layer = [self._layer(x) for x in self.qkv]
        self.array = self._heads_last
        return lambda q, k, v: module(self.layer[0])

    def make_nystrom(self, plan):
        from nystrom_attention import NystromAttention
        torch, p = self.torch, plan
        if p.n_q != p.n_k or p.d != p.d_v or abs(p.scale * math.sqrt(p.d) - 1) > 1e-6:
            raise Refusal("n_q is n_k, d_v is d and the scale 1/sqrt(d) in this package")
        divides(p, p.arg.m, "the landmarks: it pads otherwise, and padding enters the means")
        module = NystromAttention(p.heads * p.d, dim_head=p.d, heads=p.heads, num_landmarks=p.arg.m,
                                  pinv_iterations=p.arg.iters, residual=False).eval()
        module.to_qkv = module.to_out = torch.nn.Identity()
        x = torch.cat([self._layer(x) for x in self.qkv], -1)
        self.array = self._heads_last
        return lambda q, k, v: module(x)

    def _local(self, plan, size, back, fwd, exact):
        from local_attention import LocalAttention
        if plan.n_q != plan.n_k:
            raise Refusal("n_q is n_k in this package")
        if not plan.causal:
            divides(plan, size, "the window: padding would be seen otherwise")
        return LocalAttention(size, causal=bool(plan.causal), look_backward=back, look_forward=fwd,
                              autopad=True, exact_windowsize=exact, scale=plan.scale).eval()

    def make_local(self, plan):
        fwd = 0 if plan.causal else plan.arg.fwd
        return self._local(plan, plan.arg.b, plan.arg.back, fwd, False)

    def make_window(self, plan):
        left, right = plan.arg.left, plan.arg.right
        if not left or (not plan.causal and left != right):
            raise Refusal("left and right are one window size in this package, above 0")
        return self._local(plan, left, 1, 0 if plan.causal else 1, True)

    def make_reformer(self, plan):
        from reformer_pytorch import LSHAttention
        p = plan
        divides(p, 2 * p.arg.chunk, "twice the chunk")
        attention = LSHAttention(bucket_size=p.arg.chunk, n_hashes=p.arg.rounds, causal=bool(p.causal)).eval()

        def flat(x):
            return x.reshape(p.batch * p.heads, p.n_k, -1)
        return lambda q, k, v: attention(flat(q), flat(v))[0]

    def make_linear_attention(self, plan):
        from linear_attention.linear_attention import linear_attn
        return linear_attn

    def make_linear_attention_causal(self, plan):
        from linear_attention.linear_attention import causal_linear_attn
        return lambda q, k, v: causal_linear_attn(q, k, v, bucket_size=1)

    def _layer(self, x):
        """(batch, heads, n, d) as a layer has it: (batch, n, heads d)."""
        b, h, n, d = x.shape
        return x.transpose(1, 2).reshape(b, n, h * d).contiguous()

    def _heads_last(self, out):
        p = self.p
        return out.reshape(p.batch, p.n_q, p.heads, p.d_v).transpose(1, 2).numpy()


if __name__ == "__main__":
    main(Lucidrains)
