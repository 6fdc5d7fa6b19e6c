"""Who did what in a workspace, and when: reviews from their database, promotions from the registry's log, forgetting
from `audit.jsonl`. The logs are only ever added to; the line on a forgetting says how many, never whom."""

import getpass
import json
import os
from typing import TYPE_CHECKING

import polars as pl
from upath import UPath

from storage.workspace import BadWorkspace, Workspace, now, write_whole

if TYPE_CHECKING:
    from storage.reviews import Reviews  # SQLAlchemy, which scoring needn't load

_FORGETTING = "audit.jsonl"
_PROMOTIONS = "log.jsonl"
_ACTS = {"at": pl.String, "by": pl.String, "act": pl.String, "count": pl.Int64, "what": pl.String, "reason": pl.String}


def note_forgetting(workspace: Workspace, count: int, reason: str | None) -> None:
    """Adds a line on `count` photos that are about to be forgotten; `reason` must name none of them."""
    _add_line(workspace.root / _FORGETTING, {"act": "forgot", "count": count, "reason": reason})


def note_promotion(workspace: Workspace, version: str, model_hash: str, reason: str) -> None:
    _add_line(workspace.registry / _PROMOTIONS, {"promoted": version, "model_hash": model_hash, "reason": reason})


def promotions(workspace: Workspace) -> pl.DataFrame:
    """Which version became the champion when, by whom and why, the latest first: at, by, promoted, reason. Raises
    BadWorkspace."""
    columns = {"at": pl.String, "by": pl.String, "promoted": pl.String, "reason": pl.String}
    return _lines(workspace.registry / _PROMOTIONS, columns).reverse()


def acts(workspace: Workspace, reviews: "Reviews | None") -> pl.DataFrame:
    """Every promotion and forgetting, and each person's reviews of a day in one row, the latest first: at (UTC, ISO
    8601; of reviews, the last), by, act (reviewed, promoted, forgot), count (of faces or photos), what (the version
    promoted), reason. Raises BadWorkspace."""
    promoted = promotions(workspace).select("at", "by", "reason", act=pl.lit("promoted"), what="promoted")
    forgot = _lines(workspace.root / _FORGETTING, {name: kind for name, kind in _ACTS.items() if name != "what"})
    rows = [promoted, forgot, *([_reviewed(reviews)] if reviews else [])]
    found = pl.concat([pl.DataFrame(schema=_ACTS), *rows], how="diagonal")
    return found.sort("at", descending=True, maintain_order=True)


def _reviewed(reviews: "Reviews") -> pl.DataFrame:
    said = reviews.when_and_by_whom()
    by_day = said.group_by(pl.col("reviewed_at").dt.date(), by="reviewer").agg(
        at=pl.col("reviewed_at").max().dt.to_string("iso:strict"), count=pl.len().cast(pl.Int64)
    )
    return by_day.select("at", "by", "count", act=pl.lit("reviewed"))


def _add_line(log: UPath, act: dict) -> None:
    """The lines before it stay as they are."""
    earlier = log.read_text(encoding="utf-8") if log.exists() else ""
    line = json.dumps({"at": now().isoformat(), "by": _login_name(), **act})
    write_whole(log, (earlier + line + "\n").encode())


def _lines(log: UPath, columns: dict) -> pl.DataFrame:
    if not log.exists():
        return pl.DataFrame(schema=columns)
    try:
        return pl.read_ndjson(log.read_bytes(), schema=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadWorkspace(f"{log}: can't be read: {error}") from error


def _login_name() -> str:
    """Of whom this process belongs to; a user id without a name, as in some containers, is given as a number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError: until Python 3.12
        return f"uid {os.getuid()}"
