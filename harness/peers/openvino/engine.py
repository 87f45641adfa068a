# SPDX-License-Identifier: BSD-3-Clause
"""OpenVINO on the CPU: its ScaledDotProductAttention, which oneDNN and its own kernels carry out."""
import importlib.metadata
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from attnbench_engine import Engine, Refusal, main  # noqa: E402


class OpenVino(Engine):
    name, version = "openvino", importlib.metadata.version("openvino")
    variants = ["sdpa same=flash forms=causal,bidirectional,cross types=bf16"]

    def plan(self, plan, q, k, v):
        import openvino as ov
        import openvino.opset13 as ops
        if plan.causal and plan.n_q != plan.n_k:
            raise Refusal("its causal mask is aligned at the top left, ours at the bottom right: "
                          "they differ where n_q is not n_k")
        self.p = plan
        self.kind = ov.Type.bf16 if plan.type == "bf16" else ov.Type.f32
        self.inputs = [ov.Tensor(np.array(x), x.shape, self.kind) for x in (q, k, v)]
        scale = ops.constant(plan.scale, self.kind)
        sizes = [plan.d, plan.d, plan.d_v]
        args = [ops.parameter([plan.batch, plan.heads, -1, size], self.kind) for size in sizes]
        node = ops.scaled_dot_product_attention(*args, scale=scale, causal=bool(plan.causal))
        core = ov.Core()
        core.set_property("CPU", {
            "INFERENCE_NUM_THREADS": plan.threads, "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # the process keeps to its CPUs already
            "INFERENCE_PRECISION_HINT": plan.type,
            "CPU_DENORMALS_OPTIMIZATION": True,
        })
        self.request = core.compile_model(ov.Model([node], args, "attention"), "CPU").create_infer_request()
        # Code pages of the library are no memory of the call.
        small = [np.ascontiguousarray(x[..., :64, :]) for x in (q, k, v)]
        self.request.infer([ov.Tensor(x, x.shape, self.kind) for x in small])

    def call(self):
        self.request.infer(self.inputs, share_inputs=True, share_outputs=True)
        return self.request.get_output_tensor(0)

    def array(self, out):
        return out.data.view(np.uint16) if self.p.type == "bf16" else out.data


if __name__ == "__main__":
    main(OpenVino)
