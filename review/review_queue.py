"""The queue: one face after the other, those first of which a look teaches most, judged with a key or two."""

from dataclasses import dataclass
from functools import partial
from time import monotonic

import streamlit as st

from review.answer import HINT, PATTERN, Answer, Kind, written
from review.empty import nothing_scored
from review.face_queue import BLOCK, Estimate, FaceQueue, Look
from review.links import photo_link
from review.opened import as_they_are, background, claims_of
from review.visit import Visit
from review.words import (
    NOTHING_DRAWN,
    gender_colour,
    gender_line,
    interval_words,
    plain,
    reason_words,
    said_words,
)
from storage.reviews import Reviews
from storage.worth import REASONS, Reason, is_all_labelled, next_faces

_BUTTONS: tuple[tuple[Kind | None, str, str], ...] = (  # kind (None: wrong gender), label, key
    ("right", "Right", "y"),
    (None, "Wrong gender", "g"),
    ("not_a_face", "Not a face", "n"),
    ("skip", "Skip", "s"),
    ("undo", "Undo", "u"),
)
_BLINK_S = 0.15  # nobody judges a face faster: a key held down, or pressed twice, isn't an answer to the next face
_CROP_WIDTH = 340  # pixels


@dataclass(frozen=True)
class Asked:
    """What the person wants to look at: faces that `model_hash` scored (empty: no model did, and labels alone can be
    looked at), for one reason (None: for any)."""

    model_hash: str
    reason: Reason | None


def page(visit: Visit) -> None:
    st.title("Review", anchor=False)
    if visit.writes_to is None:
        st.info(
            "Reviews have no place to go: for a workspace in an object store, set FACELINE_REVIEWS_URL to a database."
        )
        return
    model = visit.tables.model()
    model_hash = model.model_hash if model else ""
    if model is None and visit.tables.pool(model_hash).faces.is_empty():
        nothing_scored(visit.workspace)
        return
    asked = Asked(model_hash, _why())
    if not visit.reviewer:
        st.info("Type your name in the sidebar first: it is kept with each review.", icon=":material/person:")
        return
    if asked.reason == "random" and is_all_labelled(visit.tables.pool(asked.model_hash)):
        st.info(NOTHING_DRAWN)
        return
    _looking(_queue(visit, visit.writes_to, asked), visit.reviewer)


def _why():
    return st.pills(
        "Show faces because of",
        REASONS,
        key="why",
        bind="query-params",
        help="None chosen: all of them, those first of which a look teaches most, and each tenth face at random among "
        "those without a label.",
    )


def _queue(visit: Visit, reviews: Reviews, asked: Asked) -> FaceQueue:
    """Made once in a session for what is asked: each answer goes on in it."""
    kept: dict[Asked, FaceQueue] = st.session_state.setdefault("queues", {})
    if asked not in kept:
        fetch = partial(_fetch, visit, reviews, asked)
        kept[asked] = FaceQueue(fetch, reviews, background(), claims_of(str(visit.workspace.root)))
    return kept[asked]


def _fetch(visit: Visit, reviews: Reviews, asked: Asked, served):
    pool = as_they_are(visit.workspace).pool(asked.model_hash)  # a queue outlives the visit that began it
    return next_faces(pool, asked.reason, reviews.newest(), served, BLOCK)


@st.fragment
def _looking(queue: FaceQueue, reviewer: str) -> None:
    with st.spinner("Looking for the faces that matter most"):
        face = queue.head()
    if face is None:
        _nothing_left(queue, reviewer)
        return
    picture, words = st.columns([1, 2], gap="large")
    with picture:
        if face.crop is None:
            st.info("The crop of this face was not kept.")
        else:
            st.image(face.crop, width=_CROP_WIDTH, alt="the face to judge")
    with words:
        _statement(face)
        _keys(queue, face, reviewer)
    _so_far(queue)
    st.session_state["shown_at"] = monotonic()


def _nothing_left(queue: FaceQueue, reviewer: str) -> None:
    st.success("No face is left to look at here. Score new photos, or choose another reason above.")
    if queue.last is not None:
        st.button("Undo", icon=":material/undo:", shortcut="u", on_click=queue.undo, args=(reviewer,))


def _statement(face: Look) -> None:
    """What is to be judged, why, and what else is known of the face."""
    st.caption(plain(reason_words(face.reason)))
    label = plain(said_words(face.label_age, face.label_gender))
    if face.is_of_label:
        st.header(f"The label says: {label}", anchor=False)
        if face.estimate is not None:
            st.markdown("The model's estimate:")
            _estimate(face.estimate)
        return
    if face.estimate is not None:
        _estimate(face.estimate)
    if face.label_age is not None or face.label_gender is not None:
        st.markdown(f"Its label says {label}.")


def _estimate(estimate: Estimate) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"{estimate.age:.0f} years", anchor=False, width="content")
        interval = interval_words(estimate.age_low, estimate.age_high)
        st.markdown(f":gray[{interval} :small[(90 % interval)]]", width="content")
        st.badge(gender_line(estimate.female), color=gender_colour(estimate.female))


def _keys(queue: FaceQueue, face: Look, reviewer: str) -> None:
    gender = face.shown().gender
    with st.container(horizontal=True, gap="small"):
        for kind, label, key in _BUTTONS:
            st.button(
                label,
                key=f"key_{key}",
                shortcut=key,
                disabled=(kind == "undo" and queue.last is None) or (kind is None and gender is None),
                on_click=_answer,
                args=(queue, face, Answer(kind) if kind else Answer("corrected", other_gender=True), reviewer),
            )
    in_a_row = {"horizontal": True, "vertical_alignment": "bottom"}
    with st.form("typed_answer", clear_on_submit=True, border=False), st.container(**in_a_row):
        st.text_input(
            "Age in years, or a letter, then Enter",
            key="typed",
            max_chars=8,
            validate=(PATTERN, HINT),
            help=f"{HINT}. Enter alone means right. The cursor stays here, so that the hands can stay on the keys.",
            width=300,
        )
        st.form_submit_button("Enter", on_click=_typed, args=(queue, face, reviewer))
    if refused := st.session_state.pop("refused", None):
        st.error(plain(refused))
    if face.path is not None:
        st.caption(plain(f"{face.source}/{face.path}"))
        photo_link(face.file_hash)


def _typed(queue: FaceQueue, face: Look, reviewer: str) -> None:
    answer = written(st.session_state["typed"])
    if answer is None:
        st.session_state["refused"] = HINT
    else:
        _answer(queue, face, answer, reviewer)


def _answer(queue: FaceQueue, face: Look, answer: Answer, reviewer: str) -> None:
    """A callback: it ends before the next face is drawn, so the answer is on disk by then."""
    if monotonic() - st.session_state["shown_at"] < _BLINK_S:
        return
    if answer.kind == "undo":
        queue.undo(reviewer)
    elif answer.other_gender and face.shown().gender is None:
        st.session_state["refused"] = "No gender is shown that could be wrong."
    else:
        queue.answer(face, answer, reviewer)


def _so_far(queue: FaceQueue) -> None:
    st.caption(f"{queue.answered:,} reviewed since this page was opened")
