"""A data report's findings, as `faceline data` leaves them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.schemas import FINDINGS
from storage.values import FindingKind
from storage.workspace import Workspace
from tests.rows import content_hash


def finding(name: str, kind: FindingKind, **changed: Any) -> dict:
    return {
        "kind": kind,
        "file_hash": content_hash(name),
        "face_index": 0,
        "group": None,
        "age": 62.0,
        "gender": "male",
        "expected_age": 30.0,
        "expected_gender": "male",
        "score": 0.9,
        "detail": None,
    } | changed


def write_findings(workspace: Workspace, *rows: dict, report: str = "data-20260101-120000-aaaa") -> None:
    folder = Path(str(workspace.root)) / "data_reports" / report
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=FINDINGS), folder / "findings.parquet")
