"""What is seen of each crop for a data report: its perceptual hash, and a model's answers where one is asked.

Crops stream by in batches, so that 100,000 of them need no more memory than 1,000. What was seen is kept in the
workspace's cache as it goes: a report after some corrections takes seconds, and one that was stopped goes on."""

import logging
from collections.abc import Callable, Iterator, Set

import numpy as np
import polars as pl
from upath import UPath

from models.contract import Answers, Model
from storage.frames import frame_of
from storage.schemas import LOOKS
from storage.workspace import BadWorkspace, Workspace, write_parquet
from tasks.crop import crop_hash, decode_crops
from tasks.duplicates import perceptual_hashes

logger = logging.getLogger(__name__)
_CROPS_A_STEP = 256
_STEPS_A_SAVE = 16


def look_at(
    workspace: Workspace, crop_hashes: pl.Series, model: Model | None, advance: Callable[[int], None]
) -> pl.DataFrame:
    """Rows of LOOKS, one for each of the crops, in their order. Raises BadModel, and BadWorkspace where a crop can't
    be read or isn't the one that was stored."""
    cache = workspace.root / "cache" / f"looks-{model.hash[:16] if model else 'alone'}.parquet"
    looks = _known(cache).filter(pl.col("crop_hash").is_in(crop_hashes.implode()))
    unseen = set(crop_hashes) - set(looks["crop_hash"])
    if seen := len(crop_hashes) - len(unseen):
        advance(seen)
    for step, crops in enumerate(_stream(workspace, unseen), start=1):
        looks = pl.concat([looks, _seen(crops, model)])
        advance(len(crops))
        if step % _STEPS_A_SAVE == 0:
            _keep(cache, looks)
    if unseen:
        _keep(cache, looks)
    return pl.DataFrame({"crop_hash": crop_hashes}).join(looks, on="crop_hash", how="left", maintain_order="left")


def answers_of(looks: pl.DataFrame) -> Answers:
    """Of a model that was asked for all of them."""
    female = None if looks["female"].null_count() else looks["female"].to_numpy()
    return Answers(*(looks[name].to_numpy() for name in ("age", "age_low", "age_high")), female=female)


def _stream(workspace: Workspace, wanted: Set[str]) -> Iterator[pl.DataFrame]:
    """Each of those crops once: crop_hash, crop."""
    left = set(wanted)
    stored = workspace.scan("faces").select("crop_hash", "crop").filter(pl.col("crop_hash").is_not_null())
    try:
        for batch in stored.collect_batches(chunk_size=_CROPS_A_STEP, maintain_order=False, lazy=True):
            if not left:
                return
            once = batch.unique("crop_hash")
            fresh = once.filter(pl.Series([each in left for each in once["crop_hash"]], dtype=pl.Boolean))
            left -= set(fresh["crop_hash"])
            if not fresh.is_empty():
                yield fresh
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadWorkspace(f"{workspace.root}/faces: can't be read: {error}") from error
    assert not left, f"{len(left)} crops are gone"


def _seen(stored: pl.DataFrame, model: Model | None) -> pl.DataFrame:
    crops = stored["crop"].to_list()
    for crop, stored_hash in zip(crops, stored["crop_hash"], strict=True):
        if crop_hash(crop) != stored_hash:
            raise BadWorkspace(f"faces: a stored crop is damaged (crop_hash {stored_hash}); extract it anew")
    answers = model(decode_crops(crops)) if model else None
    nothing = np.full(len(crops), None)
    columns = {name: nothing if answers is None else getattr(answers, name) for name in ("age", "age_low", "age_high")}
    female = nothing if answers is None or answers.female is None else answers.female
    looks = {"crop_hash": stored["crop_hash"], "look": perceptual_hashes(crops), **columns, "female": female}
    return pl.DataFrame(looks, schema=_nothing_seen().schema)


def _known(cache: UPath) -> pl.DataFrame:
    if not cache.exists():
        return _nothing_seen()
    try:
        return pl.read_parquet(cache.read_bytes()).cast(_nothing_seen().schema)
    except pl.exceptions.PolarsError as error:
        logger.warning("%s: can't be read, and is made anew: %s", cache, error)
        return _nothing_seen()


def _keep(cache: UPath, looks: pl.DataFrame) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(cache, looks)


def _nothing_seen() -> pl.DataFrame:
    return frame_of(LOOKS)
