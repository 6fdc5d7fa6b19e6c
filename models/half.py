"""Weights of a model file as float16 with a cast in the graph: half the size, at no cost in time, since ONNX Runtime
folds the casts when it loads."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST_HALF = 1024  # weights with fewer numbers stay float32


def store_as_half(graph: onnx.GraphProto) -> None:
    casts, wide_names = [], {}
    for part in graph.initializer:
        if part.data_type == TensorProto.FLOAT and len(part.raw_data) >= 4 * SMALLEST_HALF:
            half = numpy_helper.to_array(part).astype(np.float16)
            wide_names[part.name] = f"{part.name}.float32"
            casts.append(helper.make_node("Cast", [part.name], [wide_names[part.name]], to=TensorProto.FLOAT))
            part.CopyFrom(numpy_helper.from_array(half, part.name))
    rename_uses(graph, wide_names)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def store_as_float(graph: onnx.GraphProto) -> None:
    """Undoes it, for what must see weights in place of what casts give."""
    stored = {part.name: part for part in graph.initializer if part.data_type == TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    for cast in casts:
        part = stored[cast.input[0]]
        part.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(part).astype(np.float32), cast.output[0]))
        graph.node.remove(cast)


def rename_uses(graph: onnx.GraphProto, new_names: dict[str, str]) -> None:
    for node in graph.node:
        for index, used in enumerate(node.input):
            if used in new_names:
                node.input[index] = new_names[used]
