"""The faces that one person is asked about, one after the other. They come in blocks with their crops; the next block
is read in the background while the last faces of this one are looked at, so that no answer waits for the tables."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, fields, replace
from threading import Lock
from time import monotonic
from typing import Any

import polars as pl

from review.answer import Answer
from storage.reviews import Reviews, Shown

BLOCK = 100  # faces read at once
_REFILL_AT = 40  # faces left; at a face every 0.7 s that leaves the tables half a minute
_MOST_UNDONE = 100
_OTHER = {"female": "male", "male": "female"}
_ABANDONED_S = 120  # a face that someone has looked at for longer is shown to others again
Key = tuple[str, int]
Fetch = Callable[[set[Key]], pl.DataFrame]  # worth.next_faces, without the faces of these keys


@dataclass(frozen=True)
class Estimate:
    """What a model says of a face: years, and the probability of female (None: it judges age alone)."""

    age: float
    age_low: float
    age_high: float
    female: float | None
    model_version: str


@dataclass(frozen=True)
class Look:
    """One face to judge, from a row of worth.next_faces. `estimate` is None where no model scored it."""

    file_hash: str
    face_index: int
    reason: str
    crop: bytes | None
    estimate: Estimate | None
    label_age: float | None
    label_gender: str | None
    source: str | None
    path: str | None
    read_at: int  # the newest review when this was read: what is said later is news

    @property
    def key(self) -> Key:
        return self.file_hash, self.face_index

    @property
    def is_of_label(self) -> bool:
        """Whether the label is in question, and not the model's estimate."""
        return self.reason == "suspicious label"

    def shown(self) -> Shown:
        """The age and gender that the person is asked to judge."""
        if self.is_of_label:
            return Shown(self.reason, self.label_age, self.label_gender)
        assert self.estimate is not None, self.key
        female = self.estimate.female
        gender = None if female is None else "female" if female >= 0.5 else "male"
        return Shown(self.reason, self.estimate.age, gender, self.estimate.model_version)


class Claims:
    """Which faces are being looked at, by whom and since when: two people at once needn't do the same work. It is
    only a courtesy within one server; what both say of a face is kept in any case."""

    def __init__(self) -> None:
        self._taken: dict[Key, tuple[int, float]] = {}
        self._lock = Lock()

    def take(self, key: Key, who: int) -> bool:
        """Whether the face was free; `who` gives up the one before."""
        with self._lock:
            other, since = self._taken.get(key, (who, 0.0))
            if other != who and monotonic() - since < _ABANDONED_S:
                return False
            self._taken = {face: claim for face, claim in self._taken.items() if claim[0] != who}
            self._taken[key] = (who, monotonic())
            return True


class FaceQueue:
    """One person's queue. Every answer is on disk before the next face is shown."""

    def __init__(self, fetch: Fetch, reviews: Reviews, background: Executor, claims: Claims) -> None:
        self._fetch, self._reviews, self._background, self._claims = fetch, reviews, background, claims
        self._faces: deque[Look] = deque()
        self._served: set[Key] = set()
        self._done: deque[tuple[Look, bool]] = deque(maxlen=_MOST_UNDONE)  # with whether a review was written
        self._coming: Future[list[Look]] | None = None
        self._is_dry = False
        self.answered = 0

    @property
    def last(self) -> Look | None:
        """The face that was judged or skipped last, and can be undone."""
        return self._done[-1][0] if self._done else None

    def head(self) -> Look | None:
        """The face to show; None when there is none left. What others have judged meanwhile is passed over."""
        while True:
            self._refill()
            for _ in range(len(self._faces)):
                face = self._faces[0]
                if self._reviews.said_since(face.key, face.read_at):
                    self._faces.popleft()
                elif self._claims.take(face.key, id(self)):
                    return face
                else:
                    self._faces.rotate(-1)
            if self._faces:  # others are looking at each of them
                return self._faces[0]
            if self._is_dry:
                return None

    def answer(self, face: Look, said: Answer, reviewer: str) -> None:
        """Keeps what was said of the face that was shown, and goes on to the next. An answer that comes late, when
        another face is shown already, is to neither of them."""
        if not self._faces or self._faces[0].key != face.key:
            return
        self._faces.popleft()
        if said.kind != "skip":
            shown = face.shown()
            gender = _OTHER.get(shown.gender or "") if said.other_gender else None
            self._reviews.add(face.key, said.kind, reviewer, age=said.age, gender=gender, shown=shown)
            self.answered += 1
        self._done.append((face, said.kind != "skip"))

    def undo(self, reviewer: str) -> None:
        """Takes the last answer back, if there is one, and shows its face again."""
        if not self._done:
            return
        face, was_written = self._done.pop()
        if was_written:
            self._reviews.add(face.key, "withdrawn", reviewer, shown=face.shown())
            self.answered -= 1
        self._faces.appendleft(replace(face, read_at=self._reviews.last_id()))

    def _refill(self) -> None:
        """Asks for the next block in time, and takes it when it has come or can't be done without."""
        if self._coming is None and not self._is_dry and len(self._faces) <= _REFILL_AT:
            self._coming = self._background.submit(self._block, set(self._served))
        if self._coming is not None and (self._coming.done() or not self._faces):
            block = self._coming.result()
            self._coming = None
            self._is_dry = not block
            self._faces.extend(block)
            self._served.update(face.key for face in block)

    def _block(self, served: set[Key]) -> list[Look]:
        read_at = self._reviews.last_id()
        return [_look(row, read_at) for row in self._fetch(served).iter_rows(named=True)]


def _look(row: dict[str, Any], read_at: int) -> Look:
    estimate = Estimate(**{field.name: row[field.name] for field in fields(Estimate)})
    own = {field.name: row[field.name] for field in fields(Look) if field.name in row}
    return Look(**own, estimate=None if row["model_version"] is None else estimate, read_at=read_at)
