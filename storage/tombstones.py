"""What must not come back: a mark for each forgotten content that can be recognised, but names nobody.

It is an HMAC of the content's SHA-256 with the workspace's own random key. Whoever has both the workspace and a photo
can tell that this photo was forgotten; from the workspace alone, nobody can tell which one was."""

import hmac
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace

from upath import UPath

from storage.workspace import BadWorkspace, Workspace, write_whole

_FILE = "forgotten.json"


@dataclass(frozen=True)
class Tombstones:
    """Marks of contents. `unfinished` while rows of some of them may still be there."""

    key: str
    marks: frozenset[str] = frozenset()
    unfinished: bool = False

    def mark_of(self, file_hash: str) -> str:
        """In hex. `file_hash` is a content's SHA-256, in hex."""
        return hmac.digest(bytes.fromhex(self.key), file_hash.encode(), "sha256").hex()

    def cover(self, file_hash: str) -> bool:
        return bool(self.marks) and self.mark_of(file_hash) in self.marks

    def with_contents(self, file_hashes: Collection[str]) -> "Tombstones":
        return replace(self, marks=self.marks | {self.mark_of(file_hash) for file_hash in file_hashes})


def read_tombstones(workspace: Workspace) -> Tombstones:
    """Those of the workspace; with a new key while there are none. Raises BadWorkspace when they can't be read: going
    on without them would bring back what was forgotten."""
    file = _file(workspace)
    try:
        if not file.exists():
            return Tombstones(secrets.token_hex(32))
        stored = json.loads(file.read_text())
        return Tombstones(stored["key"], frozenset(stored["marks"]), stored["unfinished"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadWorkspace(f"{file}: can't be read, and says what must not come back: {error!r}") from error


def write_tombstones(workspace: Workspace, tombstones: Tombstones) -> None:
    """On disk, whole, when this returns."""
    stored = {"key": tombstones.key, "marks": sorted(tombstones.marks), "unfinished": tombstones.unfinished}
    write_whole(_file(workspace), json.dumps(stored, indent=0).encode())


def _file(workspace: Workspace) -> UPath:
    return workspace.root / _FILE
