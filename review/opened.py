"""What all sessions of the server share: the reviews, and what the queues of the page Review need."""

from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import timedelta

import streamlit as st

from review.face_queue import Claims
from storage.reviews import Reviews, reviews_of
from storage.workspace import Workspace, now
from tasks.drift import Week, drift_since

_KEPT_S = 600  # for how long the week is looked at once: it is a second's work with a million scores


def shared_reviews(workspace: Workspace) -> Reviews | None:
    """None where reviews have no place to go: a workspace in an object store, without a database. Raises
    BadWorkspace."""
    return _reviews(str(workspace.root), workspace)


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


@st.cache_resource(max_entries=4)
def _reviews(root: str, _workspace: Workspace) -> Reviews | None:
    return reviews_of(_workspace)
