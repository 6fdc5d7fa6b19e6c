"""Photos that a person hands over, judged at once by the same code as in bulk. Nothing of them is written to disk:
they are read in processes of their own, and what came out stays in this session until it ends."""

from dataclasses import dataclass

import polars as pl
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from models.session import OnnxModel
from review.judges import model_choices, model_named, quality_judge, readers_for
from review.leaving import forget_when_closed, keep_uploads_in_memory
from review.pictures import CANVAS_SIDE, Mark, as_address, as_jpeg, judged_mark, with_faces
from review.visit import Visit
from review.words import gender_line, interval_words, plain, rotation_words, status_words, too_small_words
from storage.choices import FaceMode
from storage.values import FileStatus
from tasks.decode import decode
from tasks.predict import Judged, Prediction, predict
from tasks.read import Ask

LARGEST_MB = 20
_FORMATS = ["jpg", "jpeg", "png", "webp", "avif", "bmp", "tif", "tiff", "gif", "jp2", "heic", "heif"]
_TABLE_WIDTH = 450  # pixels; beside an upright or square photo, below a wide one
_WIDE, _UPRIGHT = 920, 480  # pixels of the page's width that a picture takes at most
_MOST_PIXELS = 100_000_000
_FACES: dict[str, FaceMode] = {"find faces": "detect", "the picture is one face": "whole"}


@dataclass(frozen=True)
class Tried:
    """One photo's answer, and the picture to show (None where it gave no pixels), `width` pixels wide."""

    prediction: Prediction
    picture: bytes | None
    width: int = 0


def page(visit: Visit) -> None:
    workspace = visit.workspace
    keep_uploads_in_memory(LARGEST_MB)
    forget_when_closed()
    st.title("Try a photo", anchor=False)
    st.caption("Photos are judged in this computer's memory and are not stored.")
    choices = model_choices(workspace)
    if not choices:
        st.info("There is no model yet. Train one and export it, then load this page again:")
        st.code(
            f"faceline train --workspace {workspace.root}\nfaceline export latest --workspace {workspace.root}",
            language="shell",
            wrap_lines=True,
        )
        return
    photos, model_name, faces = _inputs(choices)
    if not photos:
        st.session_state.pop("tried", None)
        return
    model = model_named(workspace, model_name)
    for photo, tried in zip(photos, _try_all(photos, model, faces), strict=True):
        _show(photo.name, tried)


def _inputs(choices: dict[str, str]) -> tuple[list[UploadedFile], str, FaceMode]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Model", list(choices), format_func=choices.__getitem__, key="try_model", bind="query-params", width=360
        )
        mode = st.selectbox("Faces", list(_FACES), key="try_faces", width=220)
        camera = st.toggle("Use the camera", key="camera")
    photos = st.file_uploader(
        f"Photos, {LARGEST_MB} MB and {_MOST_PIXELS // 10**6} megapixels each at most",
        _FORMATS,
        accept_multiple_files=True,
        max_upload_size=LARGEST_MB,
        key="photos",
    )
    st.caption(f"A file in red was not taken: it is over {LARGEST_MB} MB, or no photo.")
    taken = st.camera_input("Take a photo", width=480, key="taken") if camera else None
    return [*photos, *([taken] if taken else [])], name, _FACES[mode]


def _try_all(photos: list[UploadedFile], model: OnnxModel, faces: FaceMode) -> list[Tried]:
    """Each photo is judged once for a model, not at each click; what was taken away is forgotten."""
    before: dict[tuple[str, str, str], Tried] = st.session_state.get("tried", {})
    keys = [(photo.file_id, model.hash, faces) for photo in photos]
    new = {key: photo.getvalue() for key, photo in zip(keys, photos, strict=True) if key not in before}
    if new:
        with st.spinner("Looking for faces"):
            asks = [Ask(content=content) for content in new.values()]
            predictions = predict(asks, readers_for(model, faces), model, quality_judge())
        drawn = [_drawn(content, answer) for content, answer in zip(new.values(), predictions, strict=True)]
        before = before | dict(zip(new, drawn, strict=True))
    st.session_state["tried"] = {key: before[key] for key in keys}
    return [before[key] for key in keys]


def _drawn(content: bytes, prediction: Prediction) -> Tried:
    """Decodes here only what a disposable process has decoded without harm."""
    if prediction.status != FileStatus.OK:
        return Tried(prediction, None)
    photo = decode(content, max_pixels=_MOST_PIXELS, decode_side=CANVAS_SIDE)
    drawn = with_faces(photo, [_mark(face) for face in prediction.faces])
    return Tried(prediction, as_jpeg(drawn), _WIDE if drawn.width > drawn.height else _UPRIGHT)


def _mark(face: Judged) -> Mark:
    return judged_mark(face.box, face.age, face.age_low, face.age_high, face.female)


def _show(name: str, tried: Tried) -> None:
    prediction = tried.prediction
    if tried.picture is None:
        reason = plain((prediction.detail or "no reason is known").rstrip("."))
        st.error(f"**{plain(name)}** can't be judged ({status_words(prediction.status)}): {reason}.")
        return
    with st.container(border=True):
        count = len(prediction.faces)
        found = "no face found" if not count else "one face" if count == 1 else f"{count} faces"
        st.markdown(f"**{plain(name)}** :gray[{found}]")
        with st.container(horizontal=True):
            st.image(tried.picture, width=tried.width, alt="the photo, with a box and a label for each face found")
            with st.container(width=_TABLE_WIDTH):
                if prediction.detail:
                    st.caption(plain(f"Remark: {prediction.detail}."))
                if prediction.faces:
                    _table(prediction.faces)
                else:
                    st.info("No face was found. Faces that are very small, or turned far away, are missed.")


def _table(faces: tuple[Judged, ...]) -> None:
    rows = pl.DataFrame(
        {
            "number": range(1, len(faces) + 1),
            "face": [as_address(face.crop) for face in faces],
            "age": [f"{face.age:.0f} ({interval_words(face.age_low, face.age_high)})" for face in faces],
            "gender": [gender_line(face.female) for face in faces],
            "quality": [None if face.quality is None else round(face.quality, 2) for face in faces],
        }
    )
    st.dataframe(
        rows if len(faces) > 1 else rows.drop("number"),
        width="content",
        hide_index=True,
        row_height=64,
        column_config={
            "number": st.column_config.NumberColumn("No.", width=38),
            "face": st.column_config.ImageColumn("Face", width=62),
            "age": st.column_config.TextColumn("Age, years", width=98),
            "gender": st.column_config.TextColumn("Gender", width=190),
            "quality": st.column_config.NumberColumn("Quality", format="percent", width=62),
        },
    )
    small = [number for number, face in enumerate(faces, 1) if face.box.is_too_small()]
    if small:
        st.caption(too_small_words(small))
    for turn in {face.rotation for face in faces} - {0}:
        st.caption(rotation_words(turn))
    st.caption("The age lies in the interval in brackets for 9 of 10 faces like those the model was measured on.")
