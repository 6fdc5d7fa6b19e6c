"""One face of the gallery: its crop, what the model says of it, where it is from, and a form to say what is right."""

from typing import Any

import streamlit as st

from review.links import photo_link
from review.visit import Visit
from review.words import gender_colour, gender_share, gender_words, interval_words, plain, short_path, verdict_words
from storage.reviews import Reviews, Shown
from storage.values import LONGEST_LIFE_YEARS

_ANSWERS = {"right": "The estimate is right", "corrected": "It is wrong", "not_a_face": "This is not a face"}
_VERDICT_ICONS = {"right": ":material/check:", "corrected": ":material/edit:", "not_a_face": ":material/block:"}


def face_card(face: dict[str, Any], visit: Visit) -> None:
    """`face` is a row of queries.faces_page, with its crop."""
    if face["crop"] is None:
        st.caption("The crop was not kept.")
    else:
        st.image(face["crop"], width="stretch", alt="face")
    with st.container(gap="xsmall"):
        st.markdown(_words(face))
        if face["path"] is not None:
            st.caption(plain(short_path(face["path"])), wrap=False)
    photo_link(face["file_hash"], "Photo")
    if visit.writes_to is not None:
        _review(face, visit.writes_to, visit.reviewer)


def _words(face: dict[str, Any]) -> str:
    """In one text: each element of its own costs the browser milliseconds, and a page has up to 96 cards."""
    lines = [f"**{face['age']:.0f} years** :small[:gray[{interval_words(face['age_low'], face['age_high'])}]]"]
    colour, share = gender_colour(face["female"]), gender_share(face["female"])
    lines.append(f":{colour}-badge[{gender_words(face['female'])}]")
    if share:
        lines.append(f":small[:gray[{share}]]")
    if face["verdict"] is not None:
        said = verdict_words(face["verdict"], face["review_age"], face["review_gender"])
        lines.append(f":small[:blue[{_VERDICT_ICONS[face['verdict']]} {said}]]")
    return "  \n".join(lines)


def _save(
    reviews: Reviews, face: dict[str, Any], reviewer: str, verdict: str, known: tuple[int | None, str | None]
) -> None:
    """Who gives an age or a gender corrects the estimate, even with the first answer still chosen."""
    age, gender = known
    if verdict == "right" and (age is not None or gender is not None):
        verdict = "corrected"
    if verdict != "corrected":
        age, gender = None, None
    more_probable = None if face["female"] is None else "female" if face["female"] >= 0.5 else "male"
    shown = Shown(None, face["age"], more_probable, face["model_version"])
    reviews.add((face["file_hash"], face["face_index"]), verdict, reviewer, age=age, gender=gender, shown=shown)


@st.fragment
def _review(face: dict[str, Any], reviews: Reviews, reviewer: str) -> None:
    """The form is made once it is opened: two dozen of them were two thirds of the page."""
    key = f"{face['file_hash'][:16]}-{face['face_index']}"
    form = st.popover("Review", width="stretch", key=f"review-{key}", on_change="rerun")
    if not form.open:
        return
    with form:
        st.code(f"{face['source']}/{face['path']}", language=None, wrap_lines=True)
        if face["path_count"] > 1:
            st.caption(f"The same photo lies at {face['path_count'] - 1} more places.")
        if not reviewer:
            st.info("Type your name in the sidebar first: it is kept with each review.")
        with st.form(f"form-{key}", border=False):
            verdict = st.radio("What is right?", list(_ANSWERS), format_func=_ANSWERS.__getitem__, key=f"verdict-{key}")
            age = st.number_input(
                "Age in years, if you know", 0, LONGEST_LIFE_YEARS, value=None, placeholder="unknown", key=f"age-{key}"
            )
            gender = st.segmented_control("Gender, if you know", ("female", "male"), key=f"gender-{key}")
            if st.form_submit_button("Save", disabled=not reviewer, width="stretch"):
                _save(reviews, face, reviewer, verdict, (age, gender))
                st.rerun()
        if face["verdict"] is not None and st.button("Withdraw the review", disabled=not reviewer, key=f"undo-{key}"):
            reviews.add((face["file_hash"], face["face_index"]), "withdrawn", reviewer)
            st.rerun()
