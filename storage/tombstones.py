"""What must not come back: a mark for each forgotten content that can be recognised, but names nobody.

It is an HMAC of the content's SHA-256 with the workspace's own random key. Whoever has both the workspace and a photo
can tell that this photo was forgotten; from the workspace alone, nobody can tell which one was."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass, replace


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
