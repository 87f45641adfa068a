# SPDX-License-Identifier: BSD-3-Clause
"""numpy on its own OpenBLAS: attention as one writes it down. The reference client."""
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, main  # noqa: E402


class Numpy(Engine):
    name, version, grouped = "numpy", np.__version__, True
    variants = [
        "softmax same=full forms=causal,bidirectional,cross",
        "linear-elu same=linear-elu forms=causal,bidirectional,cross params=eps",
    ]

    def plan(self, plan, q, k, v):
        # Copies in memory of our own, as an array of numpy usually is.
        self.p, self.q = plan, q.copy()
        self.k, self.v = (x.repeat(plan.heads // plan.kv_heads, 1) for x in (k, v))
        self.call = {"softmax": self.softmax, "linear-elu": self.linear_elu}[plan.variant]
        # The libraries' own code and buffers are no memory of the call.
        small = np.ones((64, 64), np.float32)
        np.exp(small @ small).sum()

    def prepare(self):
        p = self.p
        hidden = np.tri(p.n_q, p.n_k, p.n_k - p.n_q, dtype=bool)
        self.visible = hidden if p.causal and p.variant == "softmax" else None

    def softmax(self):
        s = (self.q * np.float32(self.p.scale)) @ self.k.swapaxes(-1, -2)
        if self.visible is not None:
            s[..., ~self.visible] = -np.inf
        s -= s.max(-1, keepdims=True)
        np.exp(s, out=s)
        return (s @ self.v) / s.sum(-1, keepdims=True)

    def linear_elu(self):
        q, k = self._elu1(self.q), self._elu1(self.k)
        if not self.p.causal:
            num, den = q @ (k.swapaxes(-1, -2) @ self.v), q @ k.sum(-2)[..., None]
        else:  # sums up to the last key that a query sees
            at = np.arange(self.p.n_q) + self.p.n_k - self.p.n_q
            state = np.cumsum(k[..., :, None] * self.v[..., None, :], -3)[..., at, :, :]
            num = (q[..., None, :] @ state)[..., 0, :]
            den = (q * np.cumsum(k, -2)[..., at, :]).sum(-1, keepdims=True)
        return num / (den + np.float32(self.p.arg.eps))

    @staticmethod
    def _elu1(x):
        return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))


if __name__ == "__main__":
    main(Numpy)
