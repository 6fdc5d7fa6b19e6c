"""`review.start`, but a closed tab is forgotten after a moment: a test needn't wait for browsers that come back.

Run with: python -m tests.review.forgetful run review/app.py ... -- WORKSPACE"""

import sys

from review import leaving, start

GRACE_S = 10  # a connection may be lost on a busy machine too

if __name__ == "__main__":
    assert leaving._GRACE_S > GRACE_S
    leaving._GRACE_S = GRACE_S
    sys.exit(start.main())
