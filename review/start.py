"""`python -m review.start run review/app.py ... -- WORKSPACE`: Streamlit's own command line, once the pages and their
libraries are imported. Else the first visitor would wait 3 to 4 s for them.

They are kept from the garbage collector, which Streamlit calls after each run of a page, with what the page has to say
still to be sent: looking through all that was imported took it 0.16 s at every key on the page Review."""

import gc
import sys
from importlib import import_module

from review import ahead
from review.app import workspace_of

_PAGES = ("overview", "review_queue", "gallery", "one_photo", "data_quality", "training_runs", "model_versions")
_LATE = ("pandas", "pyarrow.compute", "PIL.JpegImagePlugin")  # which Streamlit imports with its first chart and picture


def main() -> None:
    for name in (*(f"review.{page}" for page in _PAGES), *_LATE):
        import_module(name)
    streamlit = import_module("streamlit.web.cli")
    gc.collect()
    gc.freeze()
    ahead.keep_reading_ahead(workspace_of(sys.argv[sys.argv.index("--") + 1 :]))
    streamlit.main(prog_name="streamlit")


if __name__ == "__main__":
    sys.exit(main())
