"""Photos to rows: what a chunk of files becomes in the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from storage.choices import Finding
from storage.tombstones import Tombstones
from storage.workspace import Workspace, now, rows_of
from tasks.contents import Contents
from tasks.crop import crop_hash
from tasks.folder import Found
from tasks.read import Ask, Looked, look
from tasks.spread import Spread


def look_at(chunk: Sequence[Found], photos: Spread[Ask, Looked], contents: Contents) -> list[tuple[Found, Looked]]:
    """Every file of the chunk with what came of it, in order; those whose content was forgotten are left out. `faces`
    is None only for contents in the tables."""
    looked = {found: Looked(None, found.refusal, found.reason) for found in chunk if found.refusal is not None}
    openable = [found for found in chunk if found.refusal is None]
    looked |= _ask(openable, photos)
    if contents.tombstones.marks:
        looked = _unforgotten(looked, photos, contents.tombstones)
    hashes = [seen.file_hash for seen in looked.values() if seen.faces is None and seen.file_hash]
    known = contents.recall(hashes)
    looked |= {
        found: replace(known[seen.file_hash], size=seen.size, mtime_ns=seen.mtime_ns)
        for found, seen in looked.items()
        if seen.faces is None and seen.file_hash in known
    }
    unsure = [found for found, seen in looked.items() if seen.faces is None and seen.file_hash not in known]
    looked |= _ask(unsure, photos, again=True)
    return [(found, looked[found]) for found in chunk if found in looked]


def _unforgotten(
    looked: dict[Found, Looked], photos: Spread[Ask, Looked], tombstones: Tombstones
) -> dict[Found, Looked]:
    """A file that no worker came to read, such as one of too many bytes, is hashed now: its row would name it. By a
    worker, as the disk may stall; where that takes longer than a photo may, nobody can tell, and the row stays."""
    unread = [found for found, seen in looked.items() if seen.file_hash is None and found.refusal is None]
    hashes = {found: seen.file_hash for found, seen in (looked | _ask(unread, photos, only_hash=True)).items()}
    return {found: seen for found, seen in looked.items() if not tombstones.cover(hashes[found] or "")}


def _ask(
    files: Sequence[Found], photos: Spread[Ask, Looked], *, again: bool = False, only_hash: bool = False
) -> dict[Found, Looked]:
    asks = [Ask(found.full_path(), again, only_hash=only_hash) for found in files]
    return dict(zip(files, look(asks, photos), strict=True))


@dataclass(frozen=True)
class Extraction:
    """One run's extraction: where its rows go, what it looks for, and what it needn't look at again."""

    workspace: Workspace
    finding: Finding
    contents: Contents
    run_id: str

    def new_faces(self, looked: Sequence[tuple[Found, Looked]]) -> pa.Table:
        """Rows of the `faces` table for the contents that were decoded, each once."""
        fresh = {seen.file_hash: seen for _, seen in looked if seen.faces and seen.file_hash}
        return rows_of("faces", _face_rows(fresh, self.finding, self.run_id))

    def file_rows(self, looked: Sequence[tuple[Found, Looked]]) -> pa.Table:
        """Rows of the `files` table, one for each file of the chunk."""
        known = [seen.file_hash for _, seen in looked if seen.faces is None and seen.file_hash]
        counts = self.contents.face_counts(known)
        counts |= {seen.file_hash: len(seen.faces) for _, seen in looked if seen.faces is not None and seen.file_hash}
        return rows_of("files", [_file_row(found, seen, counts, self.finding, self.run_id) for found, seen in looked])


def _face_rows(fresh: dict[str, Looked], finding: Finding, run_id: str) -> list[dict]:
    return [
        {
            "file_hash": content_hash,
            "face_index": index,
            "x": face.box.x,
            "y": face.box.y,
            "width": face.box.width,
            "height": face.box.height,
            "rotation": face.rotation,
            "detector": finding.detector if finding.faces == "detect" else "whole",
            "detector_score": face.box.score,
            "sharpness": face.sharpness,
            "crop": face.crop,
            "crop_hash": crop_hash(face.crop),
            "fingerprint": finding.fingerprint(),
            "run_id": run_id,
            "extracted_at": now(),
        }
        for content_hash, seen in fresh.items()
        for index, face in enumerate(seen.faces or ())
    ]


def _file_row(found: Found, seen: Looked, counts: dict[str, int], finding: Finding, run_id: str) -> dict:
    return {
        "source": found.source,
        "path": found.path,
        "size": found.size if seen.size is None else seen.size,
        "mtime_ns": found.mtime_ns if seen.mtime_ns is None else seen.mtime_ns,
        "file_hash": seen.file_hash,
        "status": seen.status,
        "detail": seen.detail,
        "face_count": counts.get(seen.file_hash or "", 0),
        "fingerprint": finding.fingerprint_of(seen.status),
        "run_id": run_id,
        "seen_at": now(),
    }
