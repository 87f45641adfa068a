# SPDX-License-Identifier: BSD-3-Clause
"""ONNX Runtime on the CPU: MultiHeadAttention of com.microsoft, Attention of ONNX itself."""
import importlib.metadata
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, Refusal, main  # noqa: E402

OPSET, IR = 23, 11


class OnnxRuntime(Engine):
    name, version = "onnxruntime", importlib.metadata.version("onnxruntime")
    variants = [
        "mha same=flash forms=causal,bidirectional,cross",
        "attention same=full forms=causal,bidirectional,cross",
    ]

    def plan(self, plan, q, k, v):
        import onnxruntime as ort
        if plan.causal and plan.n_q != plan.n_k:
            raise Refusal("its causal mask is aligned at the top left, ours at the bottom right: "
                          "they differ where n_q is not n_k")
        self.p = plan
        self.mha = plan.variant == "mha"
        self.feed = dict(zip("qkv", map(self._layout, (q, k, v))))
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = plan.threads, 1
        if plan.cpus and plan.threads > 1:  # of the threads beside the calling one, from 1
            options.add_session_config_entry("session.intra_op_thread_affinities",
                                             ";".join(str(c + 1) for c in plan.cpus[1:]))
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = ort.InferenceSession(self._model(), options, providers=["CPUExecutionProvider"])
        # Code pages of the library are no memory of the call.
        self.session.run(None, {name: np.ascontiguousarray(x[..., :64, :]) for name, x in self.feed.items()})

    def _layout(self, x):
        b, h, n, d = x.shape
        return np.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(b, n, h * d) if self.mha else x)

    def _model(self):
        from onnx import TensorProto, helper
        p, axes = self.p, 3 if self.mha else 4
        if self.mha:
            node = helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["out"], domain="com.microsoft",
                                    num_heads=p.heads, scale=p.scale, unidirectional=int(p.causal))
        else:
            node = helper.make_node("Attention", ["q", "k", "v"], ["out"], scale=p.scale,
                                    is_causal=int(p.causal))

        def value(name):
            # Lengths are left open, so that the small call of the start fits.
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes)

        def sized(name, size):
            fixed = [p.batch, None, p.heads * size] if self.mha else [p.batch, p.heads, None, size]
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, fixed)
        graph = helper.make_graph([node], "attention", [sized("q", p.d), sized("k", p.d), sized("v", p.d_v)],
                                  [value("out")])
        model = helper.make_model(graph, ir_version=IR, opset_imports=[
            helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)])
        return model.SerializeToString()

    def call(self):
        return self.session.run(None, self.feed)[0]

    def array(self, out):
        p = self.p
        return out.reshape(p.batch, p.n_q, p.heads, p.d_v).transpose(0, 2, 1, 3) if self.mha else out


if __name__ == "__main__":
    main(OnnxRuntime)
