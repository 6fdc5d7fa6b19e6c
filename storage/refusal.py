"""What all our errors for the user have in common."""

import unicodedata


def harmless(text: str) -> str:
    """On one line, and without what a terminal obeys: names of files may have line ends, escape sequences and marks
    that turn the reading direction round. Such a character is written as its escape, as in `\\x1b`."""
    shown = (each if each.isprintable() or unicodedata.category(each) == "Zs" else _escaped(each) for each in text)
    return text if text.isprintable() else "".join(shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Refusal(Exception):
    """The work can't be done; the message says what happened, to which thing, and what to do. Commands print it and
    end with status 1, where any other exception is a defect of ours and shows its traceback."""

    def __str__(self) -> str:
        return harmless(super().__str__())


class ManyLines(Refusal):
    """One whose message has lines of its own; within each, nothing makes another."""

    def __str__(self) -> str:
        return "\n".join(map(harmless, str(self.args[0]).split("\n")))
