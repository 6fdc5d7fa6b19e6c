"""What all our errors for the user have in common."""


class Refusal(Exception):
    """The work can't be done; the message says what happened, to which thing, and what to do. Commands print it and
    end with status 1, where any other exception is a defect of ours and shows its traceback."""
