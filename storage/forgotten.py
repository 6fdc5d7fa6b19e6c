"""The workspace's tombstones, as they lie in it. (Apart from them: worker processes need no tables.)"""

import json
import secrets

from upath import UPath

from storage.tombstones import Tombstones
from storage.workspace import BadWorkspace, Workspace, write_whole

_FILE = "forgotten.json"


def read_tombstones(workspace: Workspace) -> Tombstones:
    """Those of the workspace; with a new key while there are none. Raises BadWorkspace when they can't be read: going
    on without them would bring back what was forgotten."""
    file = _file(workspace)
    try:
        if not file.exists():
            return Tombstones(secrets.token_hex(32))
        stored = json.loads(file.read_text(encoding="utf-8"))
        return Tombstones(stored["key"], frozenset(stored["marks"]), stored["unfinished"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadWorkspace(f"{file}: can't be read, and says what must not come back: {error!r}") from error


def write_tombstones(workspace: Workspace, tombstones: Tombstones) -> None:
    """On disk, whole, when this returns."""
    stored = {"key": tombstones.key, "marks": sorted(tombstones.marks), "unfinished": tombstones.unfinished}
    write_whole(_file(workspace), json.dumps(stored, indent=0).encode())


def _file(workspace: Workspace) -> UPath:
    return workspace.root / _FILE
