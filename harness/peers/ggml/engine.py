# SPDX-License-Identifier: BSD-3-Clause
"""ggml on the CPU, by its binding ggml-py: FLASH_ATTN_EXT, and softmax between two products."""
import ctypes
import importlib.metadata
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, Refusal, main  # noqa: E402

F32, F16, PREC_F32 = 0, 1, 10


class Ggml(Engine):
    name, version = "ggml", importlib.metadata.version("ggml-py")
    variants = [
        "flash-attn-ext same=flash forms=causal,bidirectional,cross",
        "softmax same=full forms=causal,bidirectional,cross",
    ]

    def plan(self, plan, q, k, v):
        import ggml
        if plan.d % 8 or plan.d_v % 8:
            raise Refusal("d and d_v must be multiples of 8")
        self.g, self.p = ggml, plan
        self.backend = ggml.ggml_backend_cpu_init()
        ggml.ggml_backend_cpu_set_n_threads(self.backend, plan.threads)
        small = [np.ascontiguousarray(x[..., :64, :]) for x in (q, k, v)]
        graph, _ = self._graph(*small)  # code pages of the library are no memory of the call
        ggml.ggml_backend_graph_compute(self.backend, graph)
        self.graph, self.out = self._graph(q, k, v)

    def _graph(self, *qkv):
        g, p = self.g, self.p
        ctx = g.ggml_init(g.ggml_init_params(mem_size=1 << 20, mem_buffer=None, no_alloc=True))
        # The fastest axis comes first here.
        tensors = [g.ggml_new_tensor_4d(ctx, F32, *reversed(x.shape)) for x in qkv]
        n_q, n_k = qkv[0].shape[2], qkv[1].shape[2]
        mask = g.ggml_new_tensor_4d(ctx, F16, n_k, n_q, 1, 1) if p.causal else None
        q, k, v = tensors
        if p.variant == "flash-attn-ext":
            out = self._flash(ctx, q, k, v, mask, p.scale)
            g.ggml_flash_attn_ext_set_prec(out, PREC_F32)
            self.heads_last = True
        else:
            s = g.ggml_soft_max_ext(ctx, g.ggml_mul_mat(ctx, k, q), mask, p.scale, 0.0)
            out = g.ggml_mul_mat(ctx, g.ggml_cont(ctx, g.ggml_transpose(ctx, v)), s)
            self.heads_last = False
        graph = g.ggml_new_graph(ctx)
        g.ggml_build_forward_expand(graph, out)
        if not g.ggml_backend_alloc_ctx_tensors(ctx, self.backend):
            raise MemoryError("ggml could not allocate its tensors")
        for tensor, x in zip(tensors, qkv):
            self._view(tensor, x.shape)[...] = x
        if mask:
            visible = np.tri(n_q, n_k, n_k - n_q, dtype=bool)
            self._view(mask, (n_q, n_k), np.float16)[...] = np.where(visible, 0, -np.inf)
        return graph, out

    def _flash(self, *args):
        """Of the library, not of the binding, which lacks its last argument (logit_softcap)."""
        lib = ctypes.CDLL(os.path.join(os.path.dirname(self.g.__file__), "lib", "libggml-base.so"))
        f = lib.ggml_flash_attn_ext
        f.restype, f.argtypes = ctypes.c_void_p, [ctypes.c_void_p] * 5 + [ctypes.c_float] * 3
        void = [ctypes.cast(a, ctypes.c_void_p) if a is not None else None for a in args[:5]]
        return ctypes.cast(f(*void, args[5], 0.0, 0.0), ctypes.POINTER(self.g.ggml_tensor))

    def _view(self, tensor, shape, kind=np.float32):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(self.g.ggml_get_data(tensor)),
                             kind).reshape(shape)

    def call(self):
        self.g.ggml_backend_graph_compute(self.backend, self.graph)
        return self.out

    def array(self, out):
        p = self.p
        if not self.heads_last:
            return self._view(out, (p.batch, p.heads, p.n_q, p.d_v))
        return self._view(out, (p.batch, p.n_q, p.heads, p.d_v)).transpose(0, 2, 1, 3)


if __name__ == "__main__":
    main(Ggml)
