# SPDX-License-Identifier: BSD-3-Clause
"""JAX on the CPU: dot_product_attention, compiled by XLA."""
import importlib.metadata
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, Refusal, main  # noqa: E402


class Jax(Engine):
    name, version, grouped = "jax", importlib.metadata.version("jax"), True
    variants = [
        "attention same=full forms=causal,bidirectional,cross types=bf16",
        "attention-window same=sliding-window forms=causal,bidirectional types=bf16 params=left,right",
    ]

    def plan(self, plan, q, k, v):
        import jax
        import jax.numpy as jnp
        if plan.causal and plan.n_q != plan.n_k:
            raise Refusal("its causal mask is aligned at the top left, ours at the bottom right: "
                          "they differ where n_q is not n_k")
        self.p = plan
        kind = jnp.bfloat16 if plan.type == "bf16" else jnp.float32
        self.bits = np.uint16 if plan.type == "bf16" else np.float32
        # (batch, n, heads, d), as this function wants it.
        self.inputs = [jnp.asarray(np.ascontiguousarray(x.transpose(0, 2, 1, 3)).view(kind)) for x in (q, k, v)]
        window = (plan.arg.left, plan.arg.right) if plan.variant == "attention-window" else None

        def attention(q, k, v):
            return jax.nn.dot_product_attention(q, k, v, scale=plan.scale, is_causal=bool(plan.causal),
                                                local_window_size=window, implementation="xla")
        self.jitted = jax.jit(attention)
        small = [jnp.ones((plan.batch, 64) + x.shape[2:], kind) for x in self.inputs]
        self.jitted(*small).block_until_ready()

    def prepare(self):
        self.compiled = self.jitted.lower(*self.inputs).compile()

    def call(self):
        return self.compiled(*self.inputs).block_until_ready()

    def array(self, out):
        return np.asarray(out).view(self.bits).transpose(0, 2, 1, 3)


if __name__ == "__main__":
    main(Jax)
