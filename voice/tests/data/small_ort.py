# Makes small.ort, which the conversion's tests read: needs the packages onnx and onnxruntime (made with 1.23.2 and 1.31.1).
#
# It has what Moonshine base is made of: matrices stored as signed bytes, cast, scaled and shifted; one of which rows are
# picked, and which is turned over inside a branch; one that is a factor; one whose zero lies between two bytes; a kernel.
import numpy
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

dice = numpy.random.default_rng(7)
weights, nodes = [], []


def stored(name, shape, scale, zero):
    numbers = {
        "q": dice.integers(-128, 128, shape).astype("int8"),
        "s": numpy.array([scale], "float32"),
        "z": numpy.array([zero * scale], "float32"),
    }
    weights.extend(numpy_helper.from_array(array, f"{name}_{part}") for part, array in numbers.items())
    nodes.append(helper.make_node("Cast", [f"{name}_q"], [f"{name}_c"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Mul", [f"{name}_c", f"{name}_s"], [f"{name}_m"]))
    nodes.append(helper.make_node("Add", [f"{name}_m", f"{name}_z"], [name]))


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


stored("words", (6, 4), 0.02, -11)
stored("product", (4, 5), 0.03, 7)
stored("kernel", (3, 1, 2), 0.05, 2)
stored("slanted", (4, 4), 0.04, 0.5)

then_branch = helper.make_graph(
    [
        helper.make_node("Transpose", ["words"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["slant", "turned"], ["scores"]),
    ],
    "then",
    [],
    [value("scores", TensorProto.FLOAT, ["n", 6])],
)
else_branch = helper.make_graph(
    [
        helper.make_node(
            "ConstantOfShape", ["shape"], ["same"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.25])
        )
    ],
    "else",
    [],
    [value("same", TensorProto.FLOAT, ["n", 6])],
    [numpy_helper.from_array(numpy.array([3, 6], "int64"), "shape")],
)
nodes += [
    helper.make_node("Gather", ["words", "ids"], ["picked"], axis=0),
    helper.make_node("MatMul", ["picked", "slanted"], ["slant"]),
    helper.make_node("MatMul", ["slant", "product"], ["five"]),
    helper.make_node("If", ["yes"], ["chosen"], then_branch=then_branch, else_branch=else_branch),
    helper.make_node("Conv", ["sound", "kernel"], ["rings"], strides=[2], auto_pad="NOTSET"),
]
inputs = [
    value("ids", TensorProto.INT64, ["n"]),
    value("yes", TensorProto.BOOL, [1]),
    value("sound", TensorProto.FLOAT, [1, 1, "length"]),
]
outputs = [
    value("five", TensorProto.FLOAT, ["n", 5]),
    value("chosen", TensorProto.FLOAT, ["n", 6]),
    value("rings", TensorProto.FLOAT, [1, 3, None]),
]
graph = helper.make_graph(nodes, "small", inputs, outputs, weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)

options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.optimized_model_filepath = "small.ort"
options.add_session_config_entry("session.save_model_format", "ORT")
onnxruntime.InferenceSession(model.SerializeToString(), options)
