"""One photo: its faces with what the model says of each, where it lies, and its history through the tables."""

import re
from typing import Any

import polars as pl
import streamlit as st

from review.original import original
from review.pictures import as_address, as_jpeg, judged_mark, with_faces
from review.visit import Visit
from review.words import gender_line, interval_words, plain, rotation_words, said_words, too_small_words
from storage.photo import PhotoRecord, history, photo_record
from tasks.bucket import Unreachable
from tasks.detect import Box

_HASH = re.compile(r"[0-9a-f]{64}")


def page(visit: Visit) -> None:
    st.title("Photo", anchor=False)
    wanted = st.query_params.get("photo", "")
    photo = photo_record(visit.workspace, wanted) if _HASH.fullmatch(wanted) else None
    if photo is None:
        st.info("No such photo in this workspace. Open one from the gallery, or from a face under review.")
        return
    picture, words = st.columns([3, 2], gap="large")
    with picture:
        _picture(photo)
    with words:
        _faces(photo)
        _places(photo)
        _labels(photo)
    st.header("History", anchor=False)
    st.dataframe(
        history(photo, visit.reviews.of_photo(photo.file_hash) if visit.reviews else None),
        hide_index=True,
        column_config={
            "at": st.column_config.DatetimeColumn("When (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC", width=130),
            "what": st.column_config.TextColumn("What", width=120),
            "detail": st.column_config.TextColumn("Particulars", width=600),
        },
    )


def _picture(photo: PhotoRecord) -> None:
    try:
        found = original(photo.places(), photo.file_hash)
        why = "The photo isn't where it was found any more, or was changed since"
    except Unreachable as error:
        found, why = None, plain(f"The photo can't be read now ({error})")
    if found is not None:
        marks = [_mark(face) for face in photo.last_scores().iter_rows(named=True)]
        st.image(as_jpeg(with_faces(found, marks)), width="stretch", alt="the photo, with a box for each face found")
        return
    st.info(f"{why}; these are the faces that were kept.")
    crops = photo.faces["crop"].drop_nulls().to_list()
    if crops:
        st.image(crops, width=140, alt=["a face"] * len(crops))


def _mark(face: dict[str, Any]):
    return judged_mark(_box(face), face["age"], face["age_low"], face["age_high"], face["female"])


def _box(face: dict[str, Any]) -> Box:
    return Box(face["x"], face["y"], face["width"], face["height"], face["detector_score"])


def _faces(photo: PhotoRecord) -> None:
    faces = photo.last_scores()
    if faces.is_empty():
        st.markdown("No face was found in it.")
        return
    rows = pl.DataFrame(
        {
            "number": range(1, len(faces) + 1),
            "face": [crop and as_address(crop) for crop in faces["crop"]],
            "estimate": [_estimate(face) for face in faces.iter_rows(named=True)],
        }
    )
    st.dataframe(
        rows,
        hide_index=True,
        row_height=64,
        column_config={
            "number": st.column_config.NumberColumn("No.", width=40),
            "face": st.column_config.ImageColumn("Face", width=62),
            "estimate": st.column_config.TextColumn("Estimate", width=250),
        },
    )
    small = [number for number, face in enumerate(faces.iter_rows(named=True), 1) if _box(face).is_too_small()]
    if small:
        st.caption(too_small_words(small))
    if turn := faces["rotation"][0]:
        st.caption(rotation_words(turn))


def _estimate(face: dict[str, Any]) -> str:
    if face["age"] is None:
        return "not scored"
    return f"{face['age']:.0f} ({interval_words(face['age_low'], face['age_high'])}), {gender_line(face['female'])}"


def _places(photo: PhotoRecord) -> None:
    places = photo.places()
    st.markdown("**Where it lies**" if len(places) == 1 else f"**Where it lies**, {len(places)} times")
    for source, path in places[:20]:
        st.code(f"{source}/{path}", language=None, wrap_lines=True)
    st.caption(f"SHA-256 {photo.file_hash}")


def _labels(photo: PhotoRecord) -> None:
    for label in photo.labels.iter_rows(named=True):
        said = f"Label from {label['label_source']}: {said_words(label['age'], label['gender'])}"
        st.markdown(plain(said + (f" ({label['detail']})" if label["detail"] else "")))
