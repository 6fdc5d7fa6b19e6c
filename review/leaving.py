"""What a closed tab leaves on the server: nothing. Streamlit as installed writes each upload above 1 MB to the
temporary folder while it comes in. It keeps a closed tab's uploads and pictures for two minutes, then until another tab
is closed, and what the page itself held of the last tab until a new one is opened: on a quiet day for ever."""

import asyncio
import ctypes
import sys
from dataclasses import dataclass

import streamlit as st
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state import SafeSessionState

_GRACE_S = 100  # for a browser that lost its connection to come back; Streamlit itself takes it back for 120


@dataclass(frozen=True)
class _Session:
    session_id: str
    state: SafeSessionState  # with uploaded files, as the page was given them, where their widget has a key


def keep_uploads_in_memory(largest_mb: int) -> None:
    """They never lie on the disk, not even in a file without a name."""
    MultiPartParser.spool_max_size = (largest_mb + 1) * 2**20


def forget_when_closed() -> None:
    """Ends this session, and all that it holds of photos, soon after its tab was closed."""
    context = get_script_run_ctx()
    if context is not None and runtime.exists():
        _watched(_Session(context.session_id, context.session_state))


def _end_soon(session: _Session) -> None:
    """Streamlit releases what is cached for a session when its browser goes, on the thread of its event loop."""
    asyncio.get_running_loop().call_later(_GRACE_S, _end, session)


@st.cache_resource(scope="session", show_spinner=False, on_release=_end_soon)
def _watched(_session: _Session) -> _Session:
    return _session


def _end(session: _Session) -> None:
    if not runtime.exists() or runtime.get_instance().is_active_session(session.session_id):
        return
    runtime.get_instance().close_session(session.session_id)
    for name in session.state.filtered_state:
        del session.state[name]
    if sys.platform == "linux":  # what was freed goes back to the system: without, half of it stays with the process
        ctypes.CDLL(None).malloc_trim(0)
