"""What the last data report found in the labels: `data_reports/<run>/findings.parquet`, a row a face that someone
should look at, and kind."""

import polars as pl
from upath import UPath

from storage.frames import frame_of
from storage.queries import collect, places
from storage.schemas import FINDINGS
from storage.values import FindingKind
from storage.workspace import BadWorkspace, Workspace

# Kinds whose label a person is asked about. Of labels that contradict each other, one at least is wrong.
SUSPICIOUS = (FindingKind.SUSPICIOUS_AGE, FindingKind.SUSPICIOUS_GENDER, FindingKind.LABEL_CONFLICT)


def newest_report(workspace: Workspace) -> UPath | None:
    """The file of the newest findings; None before the first report."""
    folder = workspace.root / "data_reports"
    reports = sorted(folder.glob("*/findings.parquet"), key=str) if folder.exists() else []
    return reports[-1] if reports else None


def newest_findings(workspace: Workspace) -> pl.DataFrame:
    """The newest report's rows of FINDINGS; none before the first report. Raises BadWorkspace when they can't be
    read."""
    none = frame_of(FINDINGS)
    report = newest_report(workspace)
    if report is None:
        return none
    try:
        return pl.read_parquet(report.read_bytes()).select(none.columns).cast(none.schema)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadWorkspace(
            f"{report}: can't be read; delete its folder, or make a new report with `faceline data`: {error}"
        ) from error


def suspicious_labels(findings: pl.DataFrame) -> pl.DataFrame:
    """The faces whose label is probably wrong, once each: file_hash, face_index, suspicion (0 to 1)."""
    wrong = findings.filter(pl.col("kind").is_in(SUSPICIOUS), pl.col("face_index").is_not_null())
    return wrong.group_by("file_hash", "face_index").agg(suspicion=pl.col("score").max())


def with_places(workspace: Workspace, findings: pl.DataFrame) -> pl.DataFrame:
    """The findings with the source and path of each photo's first place."""
    where = places(workspace, findings["file_hash"]).drop("path_count")
    return findings.join(where, on="file_hash", how="left", maintain_order="left")


def last_crops(workspace: Workspace, faces: pl.DataFrame) -> pl.DataFrame:
    """The crop of each of a few faces, as it was extracted last: file_hash, face_index, crop."""
    few = pl.col("file_hash").is_in(faces["file_hash"].unique().implode())
    found = workspace.scan("faces").filter(few) if len(faces) else workspace.scan("faces").head(0)
    extracted = found.sort("extracted_at").select("file_hash", "face_index", "crop")
    return collect(workspace, extracted.unique(["file_hash", "face_index"], keep="last"))
