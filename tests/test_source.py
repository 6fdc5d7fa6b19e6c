"""What the source must not do, read from the source itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
SOURCES = sorted(
    path for name in ("flows", "review", "tasks", "models", "storage") for path in (REPOSITORY / name).rglob("*.py")
)
CODE_FROM_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_OPTIONS = {("allow_pickle", True), ("safe_mode", False), ("weights_only", False), ("shell", True)}


def offences(tree: ast.AST) -> Iterator[str]:
    """What could run code that came with data: each with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (
                    f"{node.lineno}: import {each.name}" for each in names if each.name.split(".")[0] in CODE_FROM_DATA
                )
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in CODE_FROM_DATA:
                yield f"{node.lineno}: from {module}"
            case ast.Call(func=ast.Name(id=name)) if name in UNSAFE_CALLS:
                yield f"{node.lineno}: {name}()"
            case ast.Call(func=ast.Attribute(attr="read_pickle" | "load_model")):
                yield f"{node.lineno}: {ast.unparse(node.func)}()"
            case ast.keyword(arg=str(name), value=ast.Constant(value=value)) if (name, value) in UNSAFE_OPTIONS:
                yield f"{node.value.lineno}: {name}={value}"


def test_no_code_is_ever_loaded_with_data() -> None:
    assert len(SOURCES) > 30
    found = {path.relative_to(REPOSITORY).as_posix(): list(offences(ast.parse(path.read_text()))) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "np.load(file, allow_pickle=True)",
        "keras.models.load_model(file)",
        "load(file, safe_mode=False)",
        "pd.read_pickle(file)",
    ],
)
def test_the_scan_sees_what_it_looks_for(code: str) -> None:
    assert len(list(offences(ast.parse(code)))) == 1


def imported_with(*modules: str) -> set[str]:
    """The top-level packages that are loaded once those modules are."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.split('.')[0] for name in sys.modules}})"
    printed = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(printed.stdout.split())


def test_scoring_loads_neither_tensorflow_nor_prefect_nor_streamlit() -> None:
    loaded = imported_with("flows.cli", "flows.extraction", "flows.scoring", "flows.predict")
    assert {"cv2", "onnxruntime", "polars"} <= loaded
    assert not {"tensorflow", "keras", "tf2onnx", "prefect", "streamlit", "matplotlib", "sqlalchemy"} & loaded


def test_a_worker_process_loads_only_what_reads_photos() -> None:
    loaded = imported_with("tasks.read")
    assert {"cv2", "onnxruntime"} <= loaded
    heavy = {"tensorflow", "prefect", "sqlalchemy", "scipy", "pandas", "polars", "pyarrow", "pydantic_settings"}
    assert not heavy & loaded
