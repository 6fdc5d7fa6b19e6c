"""The command `faceline`: each verb does what the deployment of its name does, without a server.

The last line on stdout is one JSON object of counts; progress and logs go to stderr. Exit status 0: done (files that
failed have their rows), 1: the work could not be done, 2: wrong usage, 130: Ctrl-C ended it, 141: what reads stdout
went away, as `head` does. The verbs take half a second to import, in which Ctrl-C must be answered too: so they are in
flows/verbs.py, and this file imports next to nothing."""

import gc
import io
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_FROM_A_SIGNAL = 128  # exit statuses above it, as shells have them
_INTERRUPTED = '{"interrupted": true}'  # what was committed stays; the same command goes on from there


class Ended(BaseException):
    """The system asked this process to end, with the signal of this number."""


class Unprinted(Exception):
    """Stdout takes no more: what reads it has ended, or its disk is full. An exception of its own, as other pipes and
    disks fail with the same OSErrors."""


class _Stdout(io.FileIO):
    def write(self, content, /) -> int | None:
        try:
            return super().write(content)
        except OSError as error:
            raise Unprinted from error


class Interruption:
    """What a signal does: before the work it ends the process at once, where an exception would come up in some
    import, which may make another one of it; during the work it's an exception."""

    def __init__(self) -> None:
        self.working = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it, and a shell for what runs behind it
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> NoReturn:
        if not self.working:
            with suppress(OSError):
                os.write(1, f"{_INTERRUPTED}\n".encode())
            os._exit(_FROM_A_SIGNAL + number)
        raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)


def main() -> NoReturn:
    _set_up_streams()
    interruption = Interruption()
    try:
        status = run(sys.argv[1:], interruption)
        sys.stdout.flush()
    except Unprinted as unprinted:
        status = _given_up(unprinted.__cause__)
    if status > _FROM_A_SIGNAL:
        os._exit(status)  # at once: Python would wait for steps whose work nobody will commit
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it's done, but for Python's own end
    gc.freeze()  # or that would look through all objects again and again, for 0.2 s and more
    sys.exit(status)


def _set_up_streams() -> None:
    """What was closed, as by `>&-`, leads to nowhere, or the next file that is opened would get its number, and what
    is printed. Stdout is written by lines: who reads a pipe sees each photo's as soon as it's known."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number: the stream's own
            os.set_inheritable(nowhere, True)
            setattr(sys, name, open(nowhere, mode, encoding="utf-8", errors="surrogateescape", closefd=False))  # noqa: SIM115
    as_it_was = sys.stdout
    written = io.BufferedWriter(_Stdout(as_it_was.fileno(), "w", closefd=False))
    sys.stdout = io.TextIOWrapper(written, as_it_was.encoding, "backslashreplace", line_buffering=True)


def _given_up(error: BaseException | None) -> int:
    """The exit status, after which nothing more is printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):
        return _FROM_A_SIGNAL + signal.SIGPIPE
    _say(f"faceline: what it prints could not be written: {error}")
    return 1


def _say(message: str) -> None:
    with suppress(OSError):  # then there is nowhere to say it
        print(message, file=sys.stderr)


def run(arguments: list[str], interruption: Interruption | None = None) -> int:
    """Runs one command; returns its exit status."""
    import json

    from flows.verbs import WrongUsage, prepare
    from storage.refusal import Refusal

    try:
        work = prepare(arguments)
        if interruption:
            interruption.working = True
        result = work()
    except WrongUsage as error:
        _say(str(error))
        return 2
    except Refusal as error:
        _say(f"faceline: {error}")
        return 1
    except (KeyboardInterrupt, Ended) as stop:
        if interruption:
            interruption.working = False
        print(_INTERRUPTED)
        return _FROM_A_SIGNAL + int(stop.args[0] if isinstance(stop, Ended) else signal.SIGINT)
    if result is not None:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    main()
