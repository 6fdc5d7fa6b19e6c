from pathlib import Path

import pytest

from storage.findings import last_crops, newest_findings, suspicious_labels, with_places
from storage.schemas import FINDINGS
from storage.values import FindingKind
from storage.workspace import BadWorkspace, Workspace, now, open_workspace
from tests.findings import finding, write_findings
from tests.rows import content_hash, crop_of, face_row, faces, file_row, files


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(str(tmp_path / "workspace"))


def test_before_the_first_report_there_are_no_findings(workspace: Workspace) -> None:
    assert newest_findings(workspace).columns == FINDINGS.names
    assert newest_findings(workspace).is_empty()


def test_the_newest_report_counts(workspace: Workspace) -> None:
    write_findings(workspace, finding("a.jpg", FindingKind.SUSPICIOUS_AGE), report="data-20260102-120000-aaaa")
    write_findings(workspace, report="data-20260103-120000-aaaa")
    assert newest_findings(workspace).is_empty()


def test_a_report_that_cannot_be_read_is_refused_by_name(workspace: Workspace) -> None:
    write_findings(workspace)
    for file in Path(str(workspace.root)).rglob("findings.parquet"):
        file.write_bytes(b"torn")
    with pytest.raises(BadWorkspace, match=r"findings\.parquet"):
        newest_findings(workspace)


def test_a_label_that_is_suspicious_twice_is_one_face_with_the_higher_score(workspace: Workspace) -> None:
    write_findings(
        workspace,
        finding("a.jpg", FindingKind.SUSPICIOUS_AGE, score=0.5),
        finding("a.jpg", FindingKind.SUSPICIOUS_GENDER, score=0.75),
        finding("b.jpg", FindingKind.NEAR_DUPLICATE),
        finding("c.jpg", FindingKind.SUSPICIOUS_AGE, face_index=None),
    )
    assert suspicious_labels(newest_findings(workspace)).rows() == [(content_hash("a.jpg"), 0, 0.75)]


def test_labels_that_contradict_each_other_are_suspicious_and_an_invalid_one_says_nothing_to_suspect(
    workspace: Workspace,
) -> None:
    kinds = (FindingKind.LABEL_CONFLICT, FindingKind.INVALID_LABEL)
    write_findings(workspace, *(finding(str(kind), kind, score=1.0) for kind in kinds))
    assert suspicious_labels(newest_findings(workspace)).rows() == [(content_hash("label_conflict"), 0, 1.0)]


def test_findings_are_shown_with_their_photos_place_and_last_crop(workspace: Workspace) -> None:
    workspace.append("files", files(file_row("a.jpg")))
    again = face_row("a.jpg", crop=crop_of(2), fingerprint="later", extracted_at=now())
    first = face_row("a.jpg", crop=crop_of(1), extracted_at=again["extracted_at"].replace(year=2020))
    workspace.append("faces", faces(again, first))
    write_findings(workspace, finding("a.jpg", FindingKind.SUSPICIOUS_AGE))
    found = newest_findings(workspace)
    assert with_places(workspace, found).select("source", "path").rows() == [("/photos", "a.jpg")]
    assert last_crops(workspace, found)["crop"].to_list() == [crop_of(2)]
    assert last_crops(workspace, found.head(0)).is_empty()
