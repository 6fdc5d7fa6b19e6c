"""A chunk of files: read together, and committed together by the one process that writes the tables.

Reading may happen in that process or on a worker of a cluster. A worker lays its crops down in the workspace itself,
where no table has them yet; what comes back is rows without pixels. So a worker that dies, or that answers after it
was given up, leaves nothing in the tables, and nothing is committed twice."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from storage.ledger import DataFile
from tasks.extract import Extraction, look_at
from tasks.folder import Found
from tasks.read import Ask, Looked
from tasks.spread import Spread

ScoreNew = Callable[[pa.Table], pa.Table]  # rows of `faces` to rows of `scores`


@dataclass(frozen=True)
class ReadChunk:
    """A chunk of files that was read, and its new faces scored, but not committed yet."""

    files: pa.Table
    faces: pa.Table  # without their crops where these were laid down
    scores: pa.Table | None
    forgotten: int  # files of the chunk whose content must not come back
    laid_down: DataFile | None = None  # the rows of `faces`, in that order, with their crops


def read_chunk(
    files: Sequence[Found], photos: Spread[Ask, Looked], extraction: Extraction, score_new: ScoreNew | None
) -> ReadChunk:
    looked = look_at(files, photos, extraction.contents)
    faces = extraction.new_faces(looked)
    scores = score_new(faces) if score_new else None
    return ReadChunk(extraction.file_rows(looked), faces, scores, len(files) - len(looked))


def commit_chunk(chunk: ReadChunk, extraction: Extraction, *, keep_crops: bool) -> Counter[str]:
    """Commits a chunk. Several are read at a time, so what those before it have committed since is left out."""
    workspace, contents = extraction.workspace, extraction.contents
    hashes = chunk.faces["file_hash"].to_pylist()
    new = {file_hash for file_hash in set(hashes) if contents.is_new(file_hash)}
    keep = [file_hash in new for file_hash in hashes]
    faces = _only(chunk.faces, keep)
    if chunk.laid_down and faces.num_rows == chunk.faces.num_rows:
        workspace.take_up("faces", chunk.laid_down)
    elif chunk.laid_down:
        workspace.append("faces", _only(workspace.laid_down("faces", chunk.laid_down), keep))
    else:
        workspace.append("faces", faces if keep_crops else without_crops(faces))
    if chunk.scores is not None:
        workspace.append("scores", _only(chunk.scores, keep))
    workspace.append("files", chunk.files)
    contents.remember([file_hash for file_hash in chunk.files["file_hash"].to_pylist() if file_hash])
    statuses = Counter(chunk.files["status"].to_pylist())
    return Counter({**statuses, "read": chunk.files.num_rows, "faces": faces.num_rows})


def _only(rows: pa.Table, keep: list[bool]) -> pa.Table:
    """Those to keep: as a rule all of them, and `filter` would import more of pyarrow."""
    return rows if all(keep) else rows.filter(pa.array(keep, pa.bool_()))


def without_crops(faces: pa.Table) -> pa.Table:
    """The rows without their pictures: for those who may not keep faces, and for the way back from a worker."""
    for name in ("crop", "crop_hash"):
        index, field = faces.schema.get_field_index(name), faces.schema.field(name)
        faces = faces.set_column(index, field, pa.nulls(faces.num_rows, field.type))
    return faces
