"""What all sessions of the server share: the reviews, what the tables said, and what the queues of Review need.

What was read of the tables is kept until one of them is committed to, so that only the first visitor after a run waits
for it, and nobody is shown the state before."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import streamlit as st

from review.face_queue import Claims
from storage.findings import newest_report
from storage.queries import ModelInUse, model_in_use, scored_models
from storage.reviews import Reviews, reviews_of
from storage.schemas import TABLES
from storage.workspace import Workspace, now
from storage.worth import Pool, pool_of
from tasks.drift import Week, drift_since

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
_KEPT_S = 600  # for how long the week is looked at once: it is a second's work with a million scores


def shared_reviews(workspace: Workspace) -> Reviews | None:
    """None where reviews have no place to go: a workspace in an object store, without a database. Raises
    BadWorkspace."""
    return _reviews(str(workspace.root), workspace)


def told(
    question: Callable[Concatenate[Workspace, Asked], Answer],
    workspace: Workspace,
    *arguments: Asked.args,
    **named: Asked.kwargs,
) -> Answer:
    """What `question`, a function of storage/queries.py, says of the tables as they are now. The answer is shared, so
    nobody changes it."""
    assert not named, "arguments by position alone are told apart"
    return _told(str(workspace.root), _stamps(workspace), question.__name__, arguments, question, workspace)


def model_here(workspace: Workspace) -> ModelInUse | None:
    """See queries.model_in_use."""
    return model_in_use(workspace, told(scored_models, workspace))


def pool_here(workspace: Workspace, model_hash: str) -> Pool:
    """See worth.pool_of."""
    report = newest_report(workspace)
    return _pool(str(workspace.root), (*_stamps(workspace), str(report)), model_hash, workspace)


@st.cache_resource
def background() -> Executor:
    """Threads that read the next faces of the queues."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="queue")


@st.cache_resource
def claims_of(root: str) -> Claims:
    """Which faces of the workspace at `root` are being looked at."""
    return Claims()


def week_of(workspace: Workspace) -> Week:
    """How the last seven days' faces compare with those before."""
    return _week(str(workspace.root), workspace)


@st.cache_resource(ttl=_KEPT_S, max_entries=4, show_spinner=False)
def _week(root: str, _workspace: Workspace) -> Week:
    return drift_since(_workspace, now() - timedelta(days=7))


def _stamps(workspace: Workspace) -> tuple[str, ...]:
    return tuple(workspace.stamp(table) for table in TABLES)


@st.cache_resource(max_entries=100, show_spinner=False)
def _told(root: str, stamps: tuple, name: str, arguments: tuple, _question: Callable, _workspace: Workspace) -> Any:
    return _question(_workspace, *arguments)


@st.cache_resource(max_entries=2, show_spinner=False)
def _pool(root: str, stamps: tuple, model_hash: str, _workspace: Workspace) -> Pool:
    return pool_of(_workspace, model_hash)


@st.cache_resource(max_entries=4)
def _reviews(root: str, _workspace: Workspace) -> Reviews | None:
    return reviews_of(_workspace)
