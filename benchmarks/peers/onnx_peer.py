"""ONNX Runtime: models of a single node; into `out` by IO binding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from peers import Call, Maker, Peer, does

TASKS: dict[tuple[str, str], Maker] = {}
OPERATORS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "logsumexp": "ReduceLogSumExp"}


class OnnxRuntime(Peer):
    packages = ("onnxruntime",)
    tasks = TASKS
    spins = 50e-3


THE_PEER = OnnxRuntime


def session_of(peer: Any, a: Any) -> Any:
    kind = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}[a.cell.dtype]
    reduces = a.cell.task == "logsumexp"
    options = {"keepdims": 0} if reduces else {"axis": a.axis}
    node = helper.make_node(OPERATORS[a.cell.task], ["z", "axes"] if reduces else ["z"], ["y"], **options)
    axes = [helper.make_tensor("axes", TensorProto.INT64, [1], [a.axis % len(a.cell.shape)])] if reduces else []
    y_shape = [n for i, n in enumerate(a.cell.shape) if not reduces or i != a.axis % len(a.cell.shape)]
    z = helper.make_tensor_value_info("z", kind, a.cell.shape)
    y = helper.make_tensor_value_info("y", kind, y_shape)
    graph = helper.make_graph([node], "one", [z], [y], axes)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = peer.threads
    settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


@does(TASKS, *OPERATORS)
def fresh(peer: Any, a: Any) -> Call:
    session, feed = session_of(peer, a), {"z": a.z}
    return lambda: session.run(None, feed)[0]


@does(TASKS, "softmax", "log_softmax", output="out")
def into(peer: Any, a: Any) -> Call:
    session = session_of(peer, a)
    binding = session.io_binding()
    dtype: Any = np.dtype(a.cell.dtype).type
    binding.bind_input("z", "cpu", 0, dtype, a.z.shape, a.z.ctypes.data)
    binding.bind_output("y", "cpu", 0, dtype, a.out.shape, a.out.ctypes.data)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return a.out

    return call
