"""What columns may hold: the closed lists of words, and limits. Apart from their schemas, as the processes that read
photos need no pyarrow."""

from enum import StrEnum

LONGEST_LIFE_YEARS = 116
MOST_PIXELS = 1_000_000_000  # of a photo, whatever the settings say
SIDES = ("train", "val", "test")  # of a split
SMALLEST_JUDGED_SIDE = 48  # pixels of a face's longer side: below, the shipped model's card has it over a tenth worse


class FileStatus(StrEnum):
    """What came of one file. Every file met has exactly one."""

    OK = "ok"  # pixels were read; face_count may still be 0
    NOT_AN_IMAGE = "not_an_image"  # the first bytes are of no image format
    TRUNCATED = "truncated"  # an image whose data ends early or is damaged
    TOO_LARGE = "too_large"  # over the limit on pixels, bytes or memory
    UNREADABLE = "unreadable"  # it could not be opened, or its decoder refused it
    TIMED_OUT = "timed_out"  # decoding took longer than the limit
    CRASHED_DECODER = "crashed_decoder"  # its process died over it, three times
    UNSUPPORTED = "unsupported"  # an image format or a kind of link that isn't followed or decoded


class LabelStatus(StrEnum):
    OK = "ok"
    INVALID = "invalid"


class FindingKind(StrEnum):
    """What a data report finds in the labels."""

    NEAR_DUPLICATE = "near_duplicate"  # its crop looks like another one's
    LABEL_CONFLICT = "label_conflict"  # one shot, or one content, with labels that contradict each other
    SUSPICIOUS_AGE = "suspicious_age"  # far from what the other labels let expect of such a face
    SUSPICIOUS_GENDER = "suspicious_gender"
    INVALID_LABEL = "invalid_label"  # it can't be true, or can't be read
