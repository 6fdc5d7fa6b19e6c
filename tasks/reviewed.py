"""What people said in review, put in the place of what labels say, face by face."""

import polars as pl

from storage.reviews import Reviews
from storage.values import LabelStatus

REVIEW = "review"  # a label_source
_FACE = ["file_hash", "face_index"]


def said_of_faces(reviews: Reviews | None) -> pl.DataFrame:
    """The newest review of each face: file_hash, face_index, verdict, said_age, said_gender.

    Who calls an estimate right confirms its gender, which eyes can tell; its age is the model's own guess still, and
    no measure of the face, so it isn't taken. Where a label was called right, it stands."""
    schema = {"file_hash": pl.String, "face_index": pl.Int16, "verdict": pl.String}
    if reviews is None:
        return pl.DataFrame(schema=schema | {"said_age": pl.Float32, "said_gender": pl.String})
    corrected = pl.col("verdict") == "corrected"
    # On the page Review, `34` says that the age is wrong and the gender isn't, or it would be `34g`.
    let_stand = corrected & pl.col("gender").is_null() & pl.col("age").is_not_null() & pl.col("reason").is_not_null()
    confirmed = ((pl.col("verdict") == "right") | let_stand) & pl.col("model_version").is_not_null()
    return reviews.newest().select(
        *schema,
        said_age=pl.when(corrected).then("age"),
        said_gender=pl.when(confirmed).then("old_gender").when(corrected).then("gender"),
    )


def with_reviews(faces: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    """Faces with what is known of each: age, gender, label_source, label_status and groups are their photo's label's
    before, null where that can't be theirs and nothing was said of them. The source is REVIEW where what was said isn't
    what the label says. Adds verdict and `real_faces`, how many their photo has."""
    joined = faces.join(said, on=_FACE, how="left", maintain_order="left")
    no_face = (pl.col("verdict") == "not_a_face").fill_null(False)
    joined = joined.with_columns(real_faces=pl.col("face_count") - no_face.sum().over("file_hash").cast(pl.Int16))
    own = (pl.col("real_faces") == 1) & ~no_face  # of several faces, the label is of one that isn't known
    answered = pl.col("said_age").is_not_null() | pl.col("said_gender").is_not_null()
    age, gender = (pl.coalesce(f"said_{name}", pl.when(own).then(name)) for name in ("age", "gender"))
    as_labelled = own & age.eq_missing(pl.col("age")) & gender.eq_missing(pl.col("gender"))
    return joined.with_columns(
        age=age,
        gender=gender,
        label_source=pl.when(as_labelled).then("label_source").when(answered).then(pl.lit(REVIEW)),
        label_status=pl.when(answered).then(pl.lit(str(LabelStatus.OK))).when(own).then("label_status"),
        groups=pl.when(own).then("groups"),
    )
