"""One line a message in our logs, whatever the names in it."""

import logging

from storage.refusal import harmless

OUR_LOGGERS = ("flows", "tasks", "models", "storage")


class _Line(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802  the library's name
        message = super().getMessage()
        return harmless(message) if self.name.partition(".")[0] in OUR_LOGGERS else message


def keep_lines_whole() -> None:
    """For this process, from now on, whoever writes the lines."""
    logging.setLogRecordFactory(_Line)
