"""The data report before a training: `data_reports/<run>/` gets a page for people, rows for the review page, and the
numbers as JSON."""

import json
from dataclasses import asdict

from flows.evaluate import load_model
from flows.stage import log_to_prefect, publish, stage_flow
from flows.steps import progress
from storage.settings import DataReportSettings
from storage.workspace import Workspace, existing_workspace, new_run_id, now, ours, write_parquet, write_whole
from tasks.data_report.looks import look_at
from tasks.data_report.page import data_page
from tasks.data_report.report import DataReport, data_report, faces_to_train_on


@stage_flow("data")
def data(settings: DataReportSettings) -> dict:
    """Reports on the labels before a training."""
    log_to_prefect()
    counts = report_data(settings)
    publish("data", counts)
    return counts


def report_data(settings: DataReportSettings) -> dict:
    """Raises NothingToLearn, BadModel, UnknownModel and BadWorkspace."""
    workspace = existing_workspace(settings.workspace)
    model = load_model(workspace, settings.model, settings.device) if settings.check_labels else None
    faces = faces_to_train_on(workspace, settings.min_face_side)
    with progress("crops", len(faces.rows)) as advance:
        looks = look_at(workspace, faces.rows["crop_hash"], model, advance)
    report = data_report(workspace, faces, looks, settings)
    about = {
        "run": new_run_id("data"),
        "made": f"{now():%Y-%m-%d %H:%M} UTC",
        "workspace": str(workspace.root),
        "judged_by": model.version if model else "no model",
        "years_apart": f"{settings.years_apart:g}",
    }
    return _written(workspace, about, report)


def _written(workspace: Workspace, about: dict[str, str], report: DataReport) -> dict:
    folder = workspace.root / "data_reports" / about["run"]
    found = dict(report.findings["kind"].value_counts(sort=True).iter_rows())
    said = {"cautions": [asdict(caution) for caution in report.cautions], "findings": found}
    page = data_page(about, report, workspace)
    with ours(f"{folder}: the report can't be written there"):
        folder.mkdir(parents=True)
        write_whole(folder / "report.json", json.dumps(about | asdict(report.held) | said, indent=2).encode())
        write_whole(folder / "report.html", page.encode())
        write_parquet(folder / "findings.parquet", report.findings)  # last: who looks for a report looks for these
    stops = any(caution.stops for caution in report.cautions)
    counts = {"faces": report.held.usable, "left_out": report.held.left_out, "cautions": len(report.cautions)}
    return {"run": about["run"], "page": str(folder / "report.html"), **counts, "can_train": not stops, **found}
