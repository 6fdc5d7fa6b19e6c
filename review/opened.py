"""What all sessions of the server share: the reviews, what the tables said, and what the queues of Review need.

What was read of the tables is kept until one of them is committed to, so that only the first visitor after a run waits
for it, and nobody is shown the state before."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from review.face_queue import Claims
from storage.findings import newest_report
from storage.queries import ModelInUse, model_in_use, scored_models
from storage.reviews import Reviews, reviews_of, reviews_to_read
from storage.schemas import TABLES
from storage.workspace import Workspace, now
from storage.worth import Pool, pool_of
from tasks.drift import Week, drift_since

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")


def shared_reviews(workspace: Workspace, *, read_only: bool = False) -> Reviews | None:
    """None where reviews have no place to go: a workspace in an object store, without a database; and where there are
    none yet, if they are only to be read. Raises BadWorkspace."""
    return reviews_to_read(workspace) if read_only else _reviews(str(workspace.root), workspace)


@dataclass(frozen=True)
class Tables:
    """A workspace's tables as they were at one moment, and what they say. Answers are kept as long as nothing is
    committed, and shared by all who ask, so nobody changes them. All raise BadWorkspace."""

    workspace: Workspace = field(compare=False)
    stamps: tuple[str, ...]
    day: date

    def told(
        self, question: Callable[Concatenate[Workspace, Asked], Answer], *arguments: Asked.args, **named: Asked.kwargs
    ) -> Answer:
        """What `question`, a function of storage/queries.py, says of them."""
        assert not named, "arguments by position alone are told apart"
        return _told(self._root, self.stamps, question.__name__, arguments, question, self.workspace)

    def model(self) -> ModelInUse | None:
        """See queries.model_in_use."""
        return model_in_use(self.workspace, self.told(scored_models))

    def pool(self, model_hash: str) -> Pool:
        """See worth.pool_of."""
        report = newest_report(self.workspace)
        return _pool(self._root, (*self.stamps, str(report)), model_hash, self.workspace)

    def week(self) -> Week:
        """How the last seven days' faces compare with those before: see drift.drift_since."""
        return _week(self._root, self.stamps, self.day, self.workspace)

    @property
    def _root(self) -> str:
        return str(self.workspace.root)


def as_they_are(workspace: Workspace) -> Tables:
    """Raises BadWorkspace."""
    return Tables(workspace, tuple(workspace.stamp(table) for table in TABLES), now().date())


@st.cache_resource
def background() -> Executor:
    """Threads that read the next faces of the queues."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="queue")


@st.cache_resource
def claims_of(root: str) -> Claims:
    """Which faces of the workspace at `root` are being looked at."""
    return Claims()


@st.cache_resource(max_entries=4, show_spinner=False)
def _week(root: str, stamps: tuple, day: date, _workspace: Workspace) -> Week:
    return drift_since(_workspace, now() - timedelta(days=7))


@st.cache_resource(max_entries=100, show_spinner=False)
def _told(root: str, stamps: tuple, name: str, arguments: tuple, _question: Callable, _workspace: Workspace) -> Any:
    return _question(_workspace, *arguments)


@st.cache_resource(max_entries=2, show_spinner=False)
def _pool(root: str, stamps: tuple, model_hash: str, _workspace: Workspace) -> Pool:
    return pool_of(_workspace, model_hash)


@st.cache_resource(max_entries=4)
def _reviews(root: str, _workspace: Workspace) -> Reviews | None:
    return reviews_of(_workspace)
