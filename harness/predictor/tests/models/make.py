#!/usr/bin/env python3
"""Writes the tiny ONNX models of this folder and what ONNX Runtime answers for them.

    python3 -m venv venv && venv/bin/pip install onnxruntime==1.32.0 onnx scikit-learn skl2onnx numpy
    venv/bin/python make.py

Each NAME.onnx has a NAME.json beside it: {"inputs": {name: {datatype, shape, data}}, "outputs": {name: ...}}, data
flat in row-major order, NaN and infinities as strings; maps as lists of [key, value].
"""
import json
import math
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h

HERE = os.path.dirname(os.path.abspath(__file__))
V2 = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "object": "BYTES",
}


def scalar(value):
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def described(value):
    if isinstance(value, list):
        return {"maps": [[[k, scalar(float(v))] for k, v in sorted(m.items())] for m in value]}
    value = np.asarray(value)
    flat = value.astype(np.float64) if value.dtype == np.float16 else value
    return {
        "datatype": V2[str(value.dtype)] if value.dtype.kind not in "UO" else "BYTES",
        "shape": list(value.shape),
        "data": [scalar(x) for x in flat.reshape(-1).tolist()],
    }


def save(name, model, feeds):
    path = os.path.join(HERE, f"{name}.onnx")
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, feeds)
    case = {
        "inputs": {k: described(v) for k, v in feeds.items()},
        "outputs": {o.name: described(v) for o, v in zip(session.get_outputs(), outputs)},
    }
    with open(os.path.join(HERE, f"{name}.json"), "w", encoding="utf-8") as f:
        json.dump(case, f, ensure_ascii=False)
        f.write("\n")
    print(f"{name}: {os.path.getsize(path)} bytes")


def graph(name, nodes, inputs, outputs, initializers=()):
    model = h.make_model(
        h.make_graph(nodes, name, inputs, outputs, initializers),
        opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model


def info(name, dtype, shape):
    return h.make_tensor_value_info(name, dtype, shape)


def identities():
    cases = {
        "bool": (T.BOOL, np.array([[True, False], [False, True]])),
        "uint8": (T.UINT8, np.array([[0, 255], [1, 2]], np.uint8)),
        "uint16": (T.UINT16, np.array([[0, 65535], [1, 2]], np.uint16)),
        "uint32": (T.UINT32, np.array([[0, 4294967295], [1, 2]], np.uint32)),
        "uint64": (T.UINT64, np.array([[0, 18446744073709551615], [1, 2]], np.uint64)),
        "int8": (T.INT8, np.array([[-128, 127], [1, 2]], np.int8)),
        "int16": (T.INT16, np.array([[-32768, 32767], [1, 2]], np.int16)),
        "int32": (T.INT32, np.array([[-2147483648, 2147483647], [1, 2]], np.int32)),
        "int64": (T.INT64, np.array([[-9223372036854775808, 9223372036854775807], [1, 2]], np.int64)),
        "fp16": (T.FLOAT16, np.array([[0.5, -2.0], [65504.0, 0.1]], np.float16)),
        "fp32": (T.FLOAT, np.array([[0.1, -2.5], [3.4e38, 1e-40]], np.float32)),
        "fp64": (T.DOUBLE, np.array([[0.1, -2.5], [1e300, 5e-324]], np.float64)),
        "string": (T.STRING, np.array([["ä", ""], ["\"quoted\"", "x" * 40]], object)),
    }
    for name, (dtype, value) in cases.items():
        model = graph(
            f"identity_{name}",
            [h.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
            [info("INPUT0", dtype, ["batch", 2])],
            [info("OUTPUT0", dtype, ["batch", 2])],
        )
        save(f"identity_{name}", model, {"INPUT0": value})


def arithmetic():
    x = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    save("sum", graph(
        "sum",
        [h.make_node("ReduceSum", ["input-0", "axes"], ["output-0"], keepdims=0)],
        [info("input-0", T.FLOAT, ["batch", 4])], [info("output-0", T.FLOAT, ["batch"])],
        [h.make_tensor("axes", T.INT64, [1], [1])],
    ), {"input-0": x})
    save("scalar", graph(
        "scalar",
        [h.make_node("ReduceSum", ["INPUT0"], ["OUTPUT0"], keepdims=0)],
        [info("INPUT0", T.FLOAT, ["batch", 4])], [info("OUTPUT0", T.FLOAT, [])],
    ), {"INPUT0": x})
    save("not_finite", graph(
        "not_finite",
        [h.make_node("Log", ["INPUT0"], ["OUTPUT0"])],
        [info("INPUT0", T.FLOAT, ["batch", 3])], [info("OUTPUT0", T.FLOAT, ["batch", 3])],
    ), {"INPUT0": np.array([[-1, 0, 1]], np.float32)})
    save("add_sub", graph(
        "add_sub",
        [h.make_node("Add", ["left", "right"], ["total"]), h.make_node("Sub", ["left", "right"], ["rest"])],
        [info("left", T.FLOAT, ["batch", 2]), info("right", T.FLOAT, ["batch", 2])],
        [info("total", T.FLOAT, ["batch", 2]), info("rest", T.FLOAT, ["batch", 2])],
    ), {"left": x[:, :2].copy(), "right": x[:, 2:].copy()})
    # One input for each column, of different types, as scikit-learn's column transformers export.
    save("columns", graph(
        "columns",
        [
            h.make_node("Cast", ["age"], ["age_f"], to=T.FLOAT),
            h.make_node("Mul", ["age_f", "weight"], ["score"]),
            h.make_node("Identity", ["name"], ["who"]),
        ],
        [info("name", T.STRING, ["batch", 1]), info("age", T.INT64, ["batch", 1]),
         info("weight", T.FLOAT, ["batch", 1])],
        [info("score", T.FLOAT, ["batch", 1]), info("who", T.STRING, ["batch", 1])],
    ), {
        "name": np.array([["ada"], ["bob"]], object),
        "age": np.array([[36], [7]], np.int64),
        "weight": np.array([[0.5], [2.0]], np.float32),
    })
    # Declares a label for one row and returns one a row, as LightGBM exports do.
    save("wrong_shape", graph(
        "wrong_shape",
        [h.make_node("ArgMax", ["X"], ["label"], axis=1, keepdims=0)],
        [info("X", T.FLOAT, ["batch", 4])], [info("label", T.INT64, ["one"])],
    ), {"X": x})
    # The channel axis has three entries, always.
    save("fixed", graph(
        "fixed",
        [h.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)],
        [info("image", T.FLOAT, [1, 3, 2, 2])], [info("mean", T.FLOAT, [1, 3])],
    ), {"image": np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)})
    # Fails while it runs: the index is out of range for some inputs.
    save("gather", graph(
        "gather",
        [h.make_node("Gather", ["table", "index"], ["picked"])],
        [info("index", T.INT64, ["batch"])], [info("picked", T.FLOAT, ["batch"])],
        [h.make_tensor("table", T.FLOAT, [3], [10.0, 20.0, 30.0])],
    ), {"index": np.array([2, 0], np.int64)})


def classifiers():
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    rows = x[[0, 60, 120]].astype(np.float32)
    fitted = LogisticRegression(max_iter=500).fit(x, y)
    types = [("X", FloatTensorType([None, 4]))]
    plain = convert_sklearn(fitted, initial_types=types, options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    save("iris", plain, {"X": rows})
    maps = convert_sklearn(fitted, initial_types=types, target_opset={"": 17, "ai.onnx.ml": 3})
    save("iris_maps", maps, {"X": rows})
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    named = convert_sklearn(LogisticRegression(max_iter=500).fit(x, names), initial_types=types,
                            target_opset={"": 17, "ai.onnx.ml": 3})
    save("iris_names", named, {"X": rows})


if __name__ == "__main__":
    identities()
    arithmetic()
    classifiers()
