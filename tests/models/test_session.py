"""A model file is refused in one line, or runs where it was asked to."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from models.contract import CROP_SIDE, INPUT, METADATA_KEY, BadModel
from models.session import OnnxModel, nvidia_device_present

CROPS = np.random.default_rng(0).integers(0, 256, (11, CROP_SIDE, CROP_SIDE, 3), dtype=np.uint8)
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def model(model_file: Path) -> OnnxModel:
    return OnnxModel(model_file.read_bytes(), "tiny", "cpu", batch=4)


@pytest.fixture
def changed(model_file: Path) -> Callable[[Change], bytes]:
    """The small model with something done to it."""

    def change(how: Change) -> bytes:
        proto = onnx.load(model_file)
        how(proto)
        return proto.SerializeToString()

    return change


def refusal(content: bytes, **options) -> str:
    with pytest.raises(BadModel) as caught:
        OnnxModel(content, "of the test", options.pop("device", "cpu"), **options)
    return str(caught.value)


def test_it_answers_what_the_graph_says(model: OnnxModel) -> None:
    answers = model(CROPS)
    mean = CROPS.mean(axis=(1, 2, 3))
    assert np.allclose(
        [answers.age, answers.age_low, answers.age_high], [mean / 4, mean / 4 - 5, mean / 4 + 5], atol=1e-3
    )
    assert answers.female is not None
    assert np.allclose(answers.female, mean / 255, atol=1e-5)


def test_batches_do_not_change_answers(model_file: Path) -> None:
    content = model_file.read_bytes()
    alone, together = (OnnxModel(content, "tiny", "cpu", batch=batch)(CROPS) for batch in (1, 64))
    assert np.array_equal(alone.age, together.age)


@dataclass
class SmallGpu:
    """A session on a GPU that has room for so many crops at a time."""

    session: onnxruntime.InferenceSession
    room: int
    calls: list[int] = field(default_factory=list)

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[INPUT])
        self.calls.append(count)
        if count > self.room:
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9")
        return self.session.run(names, inputs)


def test_a_batch_without_room_in_memory_is_halved_once_for_all(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = model_file.read_bytes()
    wanted = OnnxModel(content, "tiny", "cpu")(CROPS)
    model = OnnxModel(content, "tiny", "cpu", batch=8, threads=1)
    gpu = SmallGpu(model._session, room=3)
    monkeypatch.setattr(model, "_session", gpu)
    assert np.array_equal(model(CROPS).age, wanted.age)
    assert np.array_equal(model(CROPS).age, wanted.age)
    assert [count for count in gpu.calls if count > 3] == [8, 4]


@dataclass
class SessionThatWaits:
    """Answers a call once another is there at the same time."""

    session: onnxruntime.InferenceSession
    together: threading.Barrier
    calls: list[int] = field(default_factory=list)

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.calls.append(len(inputs[INPUT]))
        self.together.wait(timeout=10)
        return self.session.run(names, inputs)


def test_cores_judge_a_share_each_at_the_same_time(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = model_file.read_bytes()
    model = OnnxModel(content, "tiny", "cpu", threads=2)
    cores = SessionThatWaits(model._session, threading.Barrier(2))
    monkeypatch.setattr(model, "_session", cores)
    assert np.array_equal(model(CROPS).age, OnnxModel(content, "tiny", "cpu", threads=1)(CROPS).age)
    assert sorted(cores.calls) == [5, 6]


def test_there_may_be_more_cores_than_crops(model_file: Path) -> None:
    assert OnnxModel(model_file.read_bytes(), "tiny", "cpu", threads=8)(CROPS[:3]).age.shape == (3,)


def test_one_crop_without_room_in_memory_is_refused(model: OnnxModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_session", SmallGpu(model._session, room=0))
    with pytest.raises(BadModel, match="Failed to allocate memory"):
        model(CROPS)


def test_no_crops_give_no_answers(model: OnnxModel) -> None:
    assert model(CROPS[:0]).age.shape == (0,)


def test_it_is_known_by_the_hash_of_its_bytes(model: OnnxModel, model_file: Path) -> None:
    assert model.hash == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_it_says_what_runs_it(model: OnnxModel) -> None:
    assert model.provider == "CPUExecutionProvider"


def test_auto_takes_the_cpu_where_there_is_no_gpu(model_file: Path) -> None:
    if nvidia_device_present():
        pytest.skip("this machine has an NVIDIA device")
    assert OnnxModel(model_file.read_bytes(), "tiny", "auto").provider == "CPUExecutionProvider"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_is_refused_where_there_is_none(device: str, model_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if nvidia_device_present():
        pytest.skip("this machine has an NVIDIA device")
    message = refusal(model_file.read_bytes(), device=device)
    assert message.startswith(f"--device {device}: no device or library")
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content",
    [b"", b"this is text, not a model", b"\x00" * 1000, b"\x08\x0a\x12"],
    ids=["empty", "text", "nul", "start"],
)
def test_what_is_no_model_is_refused_in_one_line(content: bytes) -> None:
    message = refusal(content)
    assert "of the test" in message
    assert "\n" not in message


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_model_is_refused_in_one_line(model_file: Path, share: float) -> None:
    content = model_file.read_bytes()
    assert "\n" not in refusal(content[: int(len(content) * share)])


def without_metadata(proto: onnx.ModelProto) -> None:
    del proto.metadata_props[:]


def with_metadata(value: str) -> Change:
    return lambda proto: helper.set_model_props(proto, {METADATA_KEY: value})


def with_input(kind: int, shape: list) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        del proto.graph.input[:]
        proto.graph.input.append(helper.make_tensor_value_info("crops", kind, shape))

    return change


def without_female(proto: onnx.ModelProto) -> None:
    kept = [output for output in proto.graph.output if output.name != "female"]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(without_metadata, id="another program's model"),
        pytest.param(with_metadata("no json"), id="metadata that isn't JSON"),
        pytest.param(with_metadata('{"contract": 1}'), id="metadata that lacks fields"),
        pytest.param(with_input(TensorProto.UINT8, ["n", 64, 64, 3]), id="a smaller crop"),
        pytest.param(with_input(TensorProto.UINT8, ["n", 3, CROP_SIDE, CROP_SIDE]), id="channels first"),
        pytest.param(with_input(TensorProto.FLOAT, ["n", CROP_SIDE, CROP_SIDE, 3]), id="floats"),
        pytest.param(without_female, id="no gender though it says so"),
    ],
)
def test_a_model_of_another_contract_is_refused_in_one_line(changed: Callable[[Change], bytes], how: Change) -> None:
    assert "\n" not in refusal(changed(how))


def replaced(name: str, value: float) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        (part,) = [part for part in proto.graph.initializer if part.name == name]
        part.CopyFrom(helper.make_tensor(name, TensorProto.FLOAT, [], [value]))

    return change


@pytest.mark.parametrize("divisor", [0.0, float("nan")], ids=["infinite", "not a number"])
def test_an_answer_that_is_not_a_number_is_refused(changed: Callable[[Change], bytes], divisor: float) -> None:
    model = OnnxModel(changed(replaced("levels", divisor)), "tiny", "cpu")
    with pytest.raises(BadModel, match="not a number"):
        model(CROPS)


def answering_too_few(proto: onnx.ModelProto) -> None:
    """One age for all crops: their mean over the batch as well."""
    (mean,) = [node for node in proto.graph.node if node.op_type == "ReduceMean"]
    del mean.attribute[:]
    mean.attribute.append(helper.make_attribute("axes", [0, 1, 2, 3]))
    mean.attribute.append(helper.make_attribute("keepdims", 0))
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")


def test_too_few_answers_are_refused(changed: Callable[[Change], bytes]) -> None:
    model = OnnxModel(changed(answering_too_few), "tiny", "cpu")
    with pytest.raises(BadModel, match=r"6 crops, answers of"):
        model(CROPS)


def test_crops_of_another_size_are_refused(model: OnnxModel) -> None:
    with pytest.raises(BadModel, match="inference failed"):
        model(CROPS[:, :64])


def external_weights(location: str) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        part = proto.graph.initializer[0]
        part.ClearField("float_data")
        part.ClearField("raw_data")
        part.data_location = TensorProto.EXTERNAL
        part.external_data.add(key="location", value=location)

    return change


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "weights.bin"])
def test_weights_outside_the_file_are_refused(
    changed: Callable[[Change], bytes], location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    for folder in (tmp_path, tmp_path / "here"):
        (folder / "weights.bin").write_bytes(np.float32(4).tobytes())
    monkeypatch.chdir(tmp_path / "here")
    assert "\n" not in refusal(changed(external_weights(location)))
