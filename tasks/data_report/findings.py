"""What a data report finds, as rows of FINDINGS: each names one face or one label that someone should look at.

Scores run from 0 to 1, and mean within a kind: near_duplicate, the share of the perceptual hash's bits that are those
of its group's; label_conflict, 1 for two genders, and one half for ages just as far apart as is allowed;
suspicious_age, one half for a typical error and 0.8 for four times that; suspicious_gender, how probable the other
gender is; invalid_label, 1."""

import numpy as np
import polars as pl

from storage.frames import frame_of
from storage.schemas import FINDINGS
from storage.values import FileStatus, FindingKind, LabelStatus
from storage.workspace import Workspace
from tasks.data_report.suspects import TIMES_TYPICAL, Expected, doubted_genders, times_typical
from tasks.dataset import Truth
from tasks.duplicates import alike, bits_apart


def near_duplicates_among(faces: pl.DataFrame) -> pl.DataFrame:
    """Of labelled faces with their `look`, those whose crop looks like another one's."""
    looks = faces["look"].to_numpy()
    names = alike(looks)
    share = 1 - bits_apart(looks, names) / 64
    found = faces.with_columns(group=pl.Series(names, dtype=pl.String), score=pl.Series(share, dtype=pl.Float64))
    found = found.filter(pl.len().over("group") > 1)
    return _rows(
        FindingKind.NEAR_DUPLICATE,
        found.with_columns(detail=pl.format("one of {} that look alike", pl.len().over("group"))),
    )


def contradictions(near_duplicates: pl.DataFrame, years_apart: float) -> pl.DataFrame:
    """The groups of near-duplicates whose labels contradict each other."""
    alike = pl.format("one of {} that look alike", pl.len().over("group"))
    return _contradicting(near_duplicates, alike, years_apart)


def parted(near_duplicates: pl.DataFrame, faces: pl.DataFrame) -> int:
    """How many groups of near-duplicates stand on two sides of the split; `faces` has each face's `side`."""
    key = ["file_hash", "face_index"]
    sides = near_duplicates.join(faces.select(*key, "side"), on=key).group_by("group")
    return sides.agg(pl.col("side").n_unique()).filter(pl.col("side") > 1).height


def contents_labelled_twice(workspace: Workspace, years_apart: float) -> pl.DataFrame:
    """The photos of which two sources of labels say different things; a row for each of them."""
    labels = workspace.scan("labels").filter(pl.col("status") == LabelStatus.OK)
    labels = labels.with_columns(group=pl.col("file_hash")).join(_only_faces(workspace), on="file_hash", how="left")
    return _contradicting(labels.collect(), pl.col("label_source"), years_apart)


def invalid_labels(workspace: Workspace) -> pl.DataFrame:
    labels = workspace.scan("labels").filter(pl.col("status") == LabelStatus.INVALID)
    labels = labels.join(_only_faces(workspace), on="file_hash", how="left")
    return _rows(FindingKind.INVALID_LABEL, labels.with_columns(score=1.0).collect())


def suspicious_labels(faces: pl.DataFrame, truth: Truth, found: Expected) -> pl.DataFrame:
    """Of labelled faces, in the order of the other two, those whose age or gender is probably wrong."""
    times = times_typical(truth, found)
    wrong = np.where(truth.female == 1, 1 - found.female, found.female)
    faces = faces.with_columns(
        expected_age=pl.Series(found.age, dtype=pl.Float32),
        expected_gender=pl.Series(np.where(truth.female == 1, "male", "female")),
    )
    ages = faces.with_columns(
        score=pl.Series(times / (1 + times)),
        detail=pl.format(
            "about {} years, give or take {}",
            _whole(pl.col("expected_age")),
            pl.Series(found.error).round(1),
        ),
    )
    genders = faces.with_columns(
        score=pl.Series(wrong), detail=pl.format("of such a face, the other labels say {}", "expected_gender")
    )
    ages, genders = ages.filter(times >= TIMES_TYPICAL), genders.filter(doubted_genders(truth, found))
    return pl.concat(
        [
            _rows(FindingKind.SUSPICIOUS_AGE, ages.drop("expected_gender")),
            _rows(FindingKind.SUSPICIOUS_GENDER, genders.drop("expected_age")),
        ]
    )


def _contradicting(labels: pl.DataFrame, who: pl.Expr, years_apart: float) -> pl.DataFrame:
    """Of labels with their `group`, those of groups in which ages differ by more than that, or genders do. What is
    expected is what most of the group say: the median age, and a gender that more than half have."""
    youngest, oldest = pl.col("age").min().over("group"), pl.col("age").max().over("group")
    two_genders = (pl.col("gender").drop_nulls().n_unique() > 1).over("group")
    far = oldest - youngest > years_apart
    ages = pl.when(far).then(pl.format("; ages {} to {}", _whole(youngest), _whole(oldest))).otherwise(pl.lit(""))
    genders = pl.when(two_genders).then(pl.lit("; both genders")).otherwise(pl.lit(""))
    women = (pl.col("gender") == "female").mean().over("group")
    found = labels.with_columns(
        expected_age=pl.when(far).then(pl.col("age").median().over("group")),
        expected_gender=pl.when(two_genders & (women != 0.5)).then(
            pl.when(women > 0.5).then(pl.lit("female")).otherwise(pl.lit("male"))
        ),
        score=pl.when(two_genders).then(1.0).otherwise((oldest - youngest) / (oldest - youngest + years_apart)),
        detail=who + ages + genders,
    )
    return _rows(FindingKind.LABEL_CONFLICT, found.filter(far | two_genders))


def _whole(years: pl.Expr) -> pl.Expr:
    return years.round(0).cast(int, strict=False)


def _only_faces(workspace: Workspace) -> pl.LazyFrame:
    """The photos with one face, to which a label can belong: file_hash, face_index."""
    files = workspace.scan("files").filter(pl.col("file_hash").is_not_null(), pl.col("status") == FileStatus.OK)
    newest = files.sort("seen_at").unique("file_hash", keep="last").filter(pl.col("face_count") == 1)
    return newest.select("file_hash", face_index=pl.lit(0, pl.Int16))


def _rows(kind: FindingKind, found: pl.DataFrame) -> pl.DataFrame:
    """Rows of FINDINGS, the surest first."""
    schema = frame_of(FINDINGS).schema
    given = found.with_columns(kind=pl.lit(str(kind)))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in given.columns]
    ordered = given.with_columns(missing).sort("score", "group", "file_hash", descending=[True, False, False])
    return ordered.select(schema.names()).cast(schema)
