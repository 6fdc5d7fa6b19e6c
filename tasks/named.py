"""Contents as a person names them, to have them forgotten: by a photo's path, by its SHA-256, or by a subject."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from storage.forget import Unread
from storage.forgotten import read_tombstones
from storage.ledger import sha256_of
from storage.refusal import Refusal
from storage.workspace import Workspace
from tasks.folder import escape

_HASH = re.compile(r"[0-9a-fA-F]{64}")


class Unknown(Refusal):
    """Nothing in the workspace, and no file, goes by that name."""


@dataclass(frozen=True)
class Named:
    """What was meant: contents by their SHA-256, in hex, and paths whose content was never read."""

    contents: frozenset[str] = frozenset()
    unread: frozenset[Unread] = frozenset()

    def count(self) -> int:
        return len(self.contents) + len(self.unread)

    def __or__(self, other: "Named") -> "Named":
        return Named(self.contents | other.contents, self.unread | other.unread)


def named(workspace: Workspace, photos: Sequence[str], subject: str | None) -> Named:
    """All that is meant by those photos and that subject. Raises Unknown, for the first that nobody knows."""
    meant = Named() if subject is None else _of_subject(workspace, subject)
    for photo in photos:
        meant |= _of_hash(workspace, photo.lower()) if _HASH.fullmatch(photo) else _of_path(workspace, photo)
    return meant


def _of_subject(workspace: Workspace, subject: str) -> Named:
    named_so = pl.col("subject_id").str.strip_chars() == subject.strip()
    labels = workspace.scan("labels").filter(named_so).select("file_hash").collect()
    if labels.is_empty():
        raise Unknown(f"{workspace.root}: no label names the subject {subject}")
    return Named(frozenset(labels["file_hash"]))


def _of_hash(workspace: Workspace, file_hash: str) -> Named:
    for table in ("files", "faces", "labels", "scores"):
        if workspace.scan(table).filter(pl.col("file_hash") == file_hash).head(1).collect().height:
            return Named(frozenset({file_hash}))
    if read_tombstones(workspace).cover(file_hash):
        return Named(frozenset({file_hash}))
    raise Unknown(f"{workspace.root}: has no photo of the SHA-256 {file_hash}")


def _of_path(workspace: Workspace, photo: str) -> Named:
    """Whatever was ever found there, and what is there now."""
    where = pl.concat_str("source", pl.lit("/"), "path").is_in(_spellings(photo))
    rows = workspace.scan("files").filter(where).select("source", "path", "file_hash").unique().collect()
    unread = {Unread(row["source"], row["path"]) for row in rows.iter_rows(named=True) if row["file_hash"] is None}
    contents = set(rows["file_hash"].drop_nulls())
    if Path(photo).is_file():
        contents.add(sha256_of(Path(photo)))
    if not contents and not unread:
        raise Unknown(f"{photo}: is no file, and no photo of that path is in {workspace.root}")
    return Named(frozenset(contents), frozenset(unread))


def _spellings(photo: str) -> list[str]:
    """How the tables may spell that path: a folder's links are resolved there, a file's aren't."""
    if "://" in photo:
        return [photo, escape(photo.encode())]
    path = os.path.abspath(os.fsencode(photo))
    folder, name = os.path.split(path)
    return [escape(path), escape(os.path.join(os.path.realpath(folder), name)), escape(os.path.realpath(path))]
