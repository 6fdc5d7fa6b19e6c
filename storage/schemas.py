"""Every column of every table: the one place where a column is named into being.

Column names are a promise to users. Each table is an Arrow schema; a column's comment gives its unit, range and
what null means. The key of each table stands beside its schema: appending two rows of one key is a defect.
"""

import pyarrow as pa


def _time(name: str) -> pa.Field:
    return pa.field(name, pa.timestamp("us", tz="UTC"), nullable=False)


def _text(name: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable=nullable)


FILES = pa.schema(
    [
        _text("source"),  # the folder given by the user, absolute, or an object-store URL
        _text("path"),  # relative to source; bytes that aren't UTF-8 are percent-escaped, reversibly
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("mtime_ns", pa.int64(), nullable=False),  # nanoseconds since 1970
        _text("file_hash", nullable=True),  # SHA-256 of the bytes that were decoded, hex; null: never read
        _text("status"),  # a FileStatus
        _text("detail", nullable=True),  # the reason, for people; null: nothing to say
        pa.field("face_count", pa.int16(), nullable=False),
        _text("fingerprint"),  # of the extraction settings and code
        _text("run_id"),
        _time("seen_at"),
    ]
)
FILES_KEY = ("source", "path", "mtime_ns", "file_hash", "fingerprint")

FACES = pa.schema(
    [
        _text("file_hash"),
        pa.field("face_index", pa.int16(), nullable=False),  # 0 is the largest face
        pa.field("x", pa.float32(), nullable=False),  # pixels of the upright full-size photo, from its left
        pa.field("y", pa.float32(), nullable=False),  # pixels, from its top
        pa.field("width", pa.float32(), nullable=False),  # pixels; too small to judge below SMALLEST_JUDGED_SIDE
        pa.field("height", pa.float32(), nullable=False),  # pixels
        # Degrees by which that photo is turned clockwise for its faces to stand upright: 90, 180 or 270 where none did
        # as it is, else 0. The box is in the photo before that turn; the crop is upright.
        pa.field("rotation", pa.int16(), nullable=False),
        _text("detector"),  # haar, centerface, yunet, or whole
        pa.field("detector_score", pa.float32()),  # 0 to 1; null: the detector gives none
        pa.field("sharpness", pa.float32(), nullable=False),  # variance of the crop's Laplacian, 0 and up
        pa.field("crop", pa.binary()),  # 128x128 JPEG; null: not kept, by the user's wish
        _text("crop_hash", nullable=True),  # SHA-256 of crop, hex; null with it
        _text("fingerprint"),
        _text("run_id"),
        _time("extracted_at"),
    ]
)
FACES_KEY = ("file_hash", "face_index", "fingerprint")

LABELS = pa.schema(
    [
        _text("file_hash"),
        _text("label_source"),  # wiki, utkface, or table:NAME
        _text("subject_id", nullable=True),  # one person; null: unknown
        pa.field("age", pa.float32()),  # years, 0 to 116; null: unknown, or invalid
        _text("gender", nullable=True),  # female or male; null: unknown
        pa.field("groups", pa.map_(pa.string(), pa.string())),  # further columns, `split` among them
        _text("status"),  # a LabelStatus
        _text("detail", nullable=True),  # why it's invalid
        _time("labelled_at"),
    ]
)
LABELS_KEY = ("file_hash", "label_source")

SCORES = pa.schema(
    [
        _text("file_hash"),
        pa.field("face_index", pa.int16(), nullable=False),
        _text("fingerprint"),
        _text("model_hash"),  # SHA-256 of the model file's bytes that ran, hex
        _text("model_version"),  # its name in the registry, or pretrained
        pa.field("age", pa.float32(), nullable=False),  # years
        pa.field("age_low", pa.float32(), nullable=False),  # years; the lower end of the 90 % interval
        pa.field("age_high", pa.float32(), nullable=False),  # years; the upper end
        # Calibrated probability; null: the model judges age alone. From 0.75 on (SURE_FROM in storage/queries.py)
        # a face is called female, up to 0.25 male, and between uncertain.
        pa.field("female", pa.float32()),
        pa.field("quality", pa.float32()),  # 0 to 1, how usable the crop is, see tasks/quality.py; null: can't be told
        _text("provider"),  # the ONNX Runtime execution provider that ran, such as CPUExecutionProvider
        _text("run_id"),
        _time("scored_at"),
    ]
)
SCORES_KEY = ("file_hash", "face_index", "fingerprint", "model_hash")

MEASURED = pa.schema(  # figures.parquet of an evaluation: a row for each figure of each part of the faces
    [
        _text("column", nullable=True),  # age, gender, or a further label column; null: all faces
        _text("group", nullable=True),  # its value, such as 16-29 or female; null with it
        _text("figure"),  # a key of models/figures.py, which has its unit and meaning
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),  # lower end of the bootstrap 95 % interval; null: few faces, or all alike
        pa.field("high", pa.float64()),  # the upper end
        pa.field("faces", pa.int64(), nullable=False),  # that the figure is taken from
    ]
)

ROBUSTNESS = pa.schema(  # of a model: a row for each degradation of the same labelled faces, by one amount
    [
        _text("degradation"),  # none, downscaled, blurred, jpeg, rotated, darker, grey: tasks/evaluation/degrade.py
        pa.field("level", pa.float64(), nullable=False),  # pixels, sigma in pixels, quality, degrees, share left; 0
        pa.field("faces", pa.int64(), nullable=False),
        pa.field("age_mae", pa.float64()),  # years; null: no face has a known age
        pa.field("gender_accuracy", pa.float64()),  # share; null: no known gender, or the model judges age alone
        pa.field("interval_coverage", pa.float64()),  # share of the ages that lie in the 90 % interval; null as age_mae
        pa.field("age_mae_low", pa.float64()),  # ends of the bootstrap 95 % interval; null: few faces, or all alike
        pa.field("age_mae_high", pa.float64()),
        pa.field("gender_accuracy_low", pa.float64()),
        pa.field("gender_accuracy_high", pa.float64()),
        pa.field("interval_coverage_low", pa.float64()),
        pa.field("interval_coverage_high", pa.float64()),
        pa.field("quality", pa.float64()),  # mean of the scores' quality; null: it can't be told here
    ]
)

FINDINGS = pa.schema(  # findings.parquet of a data report: a row for each face that someone should look at, and kind
    [
        _text("kind"),  # a FindingKind
        _text("file_hash"),
        pa.field("face_index", pa.int16()),  # null: the label is of a photo without a face, or with several
        _text("group", nullable=True),  # near-duplicates share it, and so do labels that contradict each other
        pa.field("age", pa.float32()),  # years, as labelled; null: unknown
        _text("gender", nullable=True),  # female or male, as labelled; null: unknown
        pa.field("expected_age", pa.float32()),  # years; null: nothing is expected
        _text("expected_gender", nullable=True),  # female or male; null: nothing is expected
        pa.field("score", pa.float64(), nullable=False),  # 0 to 1; higher: more certainly so (tasks/data_report)
        _text("detail", nullable=True),  # the reason, for people
    ]
)

LOOKS = pa.schema(  # cache/looks-*.parquet: what was seen of each crop, so that the next data report is quick
    [
        _text("crop_hash"),
        pa.field("look", pa.uint64(), nullable=False),  # perceptual hash
        pa.field("age", pa.float32()),  # years, by the model that the file is named for, as are those below
        pa.field("age_low", pa.float32()),  # years; null with it: no model was asked
        pa.field("age_high", pa.float32()),  # years
        pa.field("female", pa.float32()),  # probability; null: no model was asked, or it judges age alone
    ]
)

TABLES = {"files": FILES, "faces": FACES, "labels": LABELS, "scores": SCORES}
KEYS = {"files": FILES_KEY, "faces": FACES_KEY, "labels": LABELS_KEY, "scores": SCORES_KEY}
