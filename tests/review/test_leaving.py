"""tests/review/test_uploads.py has what a closed tab leaves on the server."""

import inspect

from streamlit.runtime.memory_session_storage import MemorySessionStorage

from review import leaving


def test_a_closed_tab_is_forgotten_before_streamlit_stops_taking_it_back() -> None:
    """After that it knows the tab by its name no more, and could not end it."""
    takes_back_s = inspect.signature(MemorySessionStorage).parameters["ttl_seconds"].default
    assert 60 < leaving._GRACE_S < takes_back_s
