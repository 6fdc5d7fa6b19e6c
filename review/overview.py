"""The first page: what came in, what waits for review, and how good the model is on it."""

import polars as pl
import streamlit as st

from review.charts import age_histogram, arrivals_chart, error_chart
from review.links import review_link
from review.opened import Tables
from review.visit import Visit
from review.words import NOTHING_DRAWN, failed_words, percent, plain, since_words
from storage import queries
from storage.live_error import AGE_ERROR, GENDER_ACCURACY, Estimate, live_error, live_error_by_week
from storage.queries import ModelInUse
from storage.worth import by_age, is_all_labelled, waiting
from tasks.drift import Week, in_words

_CARD_WIDTH, _CHART_WIDTH = 150, 300  # pixels
_KEPT = """Kept in the workspace's folder: the path, size, time and SHA-256 of each file met; for each face its box, a
small crop and what models said of it; labels; reviews with their reviewers' names; models, and which photos they
learnt from. The photos stay where they are, and a photo that is tried out on these pages isn't kept.

It is kept until someone deletes it, or for as many days as `retention_days` of the daily check `health` says. These
commands delete a photo, or all of a person's, from all of it for good; to delete everything, delete the folder:"""
_ESTIMATES = """Ages and genders are estimates from looks, with errors that differ by age and by group: the model's card
has them, see `faceline models show champion`. They describe collections of photos, and are not for decisions about
people."""

_DRAWN = "They come up on the page Review, one in ten, and are of photos without a label."


def read_ahead(tables: Tables) -> None:
    """Asks all that the page asks of the tables, so that it finds the answers kept. Raises BadWorkspace."""
    tables.told(queries.status_counts)
    tables.told(queries.arrivals)
    tables.week()
    model = tables.model()
    if model is not None:
        tables.pool(model.model_hash)


def page(visit: Visit) -> None:
    st.title("Overview", anchor=False)
    counts = visit.tables.told(queries.status_counts)
    if counts.is_empty():
        st.info("No folder was read into this workspace yet. Score one, then load this page again:")
        st.code(f"faceline score FOLDER --workspace {visit.workspace.root}", language="shell", wrap_lines=True)
        _keeping(visit)
        return
    model, said = visit.tables.model(), visit.newest_reviews()
    _figures(counts, model, said)
    _keeping(visit)
    _news(visit)
    _model(visit, model)
    if model is not None:
        _to_review(visit, model, said)
    _arrivals(visit)
    if model is not None:
        _ages(visit, model)


def _figures(counts: pl.DataFrame, model: ModelInUse | None, said: pl.DataFrame) -> None:
    figures = {
        "Files": (int(counts["files"].sum()), "Every file met in the folders, as it was met last."),
        "Failed files": (queries.failures(counts), "Files that gave no pixels; the page Data quality says why."),
        "Faces found": (int(counts["faces"].sum()), "A photo at two paths counts twice."),
        "Faces scored": (model.faces if model else 0, "By the model in use."),
        "Faces reviewed": (len(said), "By anyone, whatever they said."),
    }
    with st.grid(5, min_column_width=_CARD_WIDTH):
        for label, (count, about) in figures.items():
            st.metric(label, f"{count:,}", help=about, border=True)


@st.fragment
def _keeping(visit: Visit) -> None:
    """What those whose photos these are may ask. It is drawn once it is opened: what Streamlit shows a command with is
    the largest part of its code, and kept each first page waiting for a second."""
    label = "What is kept here, for how long, and how to delete it"
    kept = st.expander(label, icon=":material/shield:", key="kept", on_change="rerun")
    if not kept.open:
        return
    with kept:
        st.markdown(_KEPT)
        forget = ("PHOTO", "--subject ID")
        commands = [f"faceline forget {who} --workspace {visit.workspace.root}" for who in forget]
        st.code("\n".join(commands), language="shell", wrap_lines=True)
        st.markdown(_ESTIMATES)


def _news(visit: Visit) -> None:
    """What is new since this person's visit before; the moment is noted once in a session."""
    if visit.writes_to is None:
        return
    if not visit.reviewer:
        st.caption("Type your name in the sidebar to see what is new since your last visit.")
        return
    noted = st.session_state.setdefault("visits", {})
    if visit.reviewer not in noted:
        noted[visit.reviewer] = visit.writes_to.note_visit(visit.reviewer)
    before = noted[visit.reviewer]
    if before is None:
        st.info("Welcome: this is your first visit. From the next one on, this line says what is new.")
        return
    news = queries.news_since(visit.workspace, before)
    others = visit.writes_to.count_since(before, but_by=visit.reviewer)
    parts = [
        f"{news.files:,} files",
        failed_words(news.failed),
        f"{news.scores:,} scores",
        f"{others:,} reviews by others",
    ]
    st.info(f"New {since_words(before)}: {', '.join(parts)}.", icon=":material/history:")


def _model(visit: Visit, model: ModelInUse | None) -> None:
    st.header("The model", anchor=False)
    if model is None:
        st.info("No face is scored yet. Score a folder, and the model's estimates are shown here:")
        st.code(f"faceline score FOLDER --workspace {visit.workspace.root}", language="shell", wrap_lines=True)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"In use: **{plain(model.model_version)}**", width="content")
        if model.is_champion:
            st.badge("champion", icon=":material/trophy:", color="blue")
        elif model.is_champion is False:
            st.badge("the champion has scored nothing yet", color="gray")
    if visit.reviews is not None:
        none = is_all_labelled(visit.tables.pool(model.model_hash))
        answers = visit.reviews.given_for("random")
        in_use = answers.filter(pl.col("model_version") == model.model_version)
        _live_error(in_use, NOTHING_DRAWN if none else _DRAWN)
        _live_errors_by_week(answers)
    _this_week(visit.tables.week())


def _this_week(week: Week) -> None:
    """Whether the faces that came in are still like those that the model knows."""
    for moved in week.moved:
        st.warning(plain(f"Against {week.reference}, {in_words(moved)}."), icon=":material/trending_up:")
    said = [each.figure for each in week.drifts if each.verdict == "steady"]
    if said:
        st.caption(
            f"The {week.drifts[0].faces:,} faces of the last seven days are like {week.reference} in {', '.join(said)}."
        )
    elif not week.moved:
        st.caption("Too few faces came in within the last seven days to say whether they are like those before.")


def _live_error(answers: pl.DataFrame, how_drawn: str) -> None:
    found = live_error(answers)
    if found.age_mae is None:
        st.caption(
            "How good it is on these photos can't be said yet: of the faces that were drawn at random, "
            f"{found.reviewed} are reviewed, and it takes 20. {how_drawn}"
        )
        return
    with st.grid(3, min_column_width=_CARD_WIDTH):
        _estimate("Age error, years", found.age_mae, "Mean absolute error against what reviewers said.", "years")
        _estimate("Gender accuracy", found.gender_accuracy, "Share of genders that reviewers let stand.", "share")
        _estimate("Not a face", found.no_faces, "Share of what the detector took for a face and isn't.", "share")
    st.caption(
        f"From {found.reviewed:,} faces drawn at random and reviewed, so without bias. A reviewer's eye isn't a birth "
        "certificate, and `right` counts as no error: against true ages the error is larger."
    )


def _live_errors_by_week(answers: pl.DataFrame) -> None:
    """Of all models: of one that was promoted lately there is no history yet."""
    weeks = live_error_by_week(answers)
    if weeks.select("week", "model_version").n_unique() < 2:
        return
    st.caption("Week by week, of each model that was in use then, with 95 % intervals:")
    with st.grid(2, min_column_width=_CHART_WIDTH) as grid:
        for figure, number_format in ((AGE_ERROR, ".1f"), (GENDER_ACCURACY, ".0%")):
            if figure in set(weeks["figure"]):
                with grid.cell():
                    chart = error_chart(weeks, figure, number_format)
                    st.altair_chart(chart, alt=f"{figure} by week and model, with its 95 % interval")


def _estimate(label: str, estimate: Estimate | None, about: str, unit: str) -> None:
    if estimate is None:
        return
    written = (lambda value: f"{value:.1f}") if unit == "years" else (lambda value: percent(value, 1))
    between = f"{written(estimate.low)} to {written(estimate.high)}"
    st.metric(label, written(estimate.value), help=f"{about} 95 % interval: {between}.", border=True)


def _to_review(visit: Visit, model: ModelInUse, said: pl.DataFrame) -> None:
    st.header("What waits for review", anchor=False)
    counts = waiting(visit.tables.pool(model.model_hash), said)
    if counts.is_empty():
        st.success("Nothing stands out. The page Review shows faces all the same, those first that stand out most.")
        return
    with st.container(horizontal=True):
        for reason, faces in counts.iter_rows():
            words = f"{reason}: {faces:,}"
            if visit.read_only:
                st.markdown(words, width="content")
            else:
                review_link(words, reason)


def _arrivals(visit: Visit) -> None:
    st.header("What came in", anchor=False)
    by = st.segmented_control(
        "Shown by", ("source", "status"), default="source", required=True, key="by", bind="query-params"
    )
    rows = visit.tables.told(queries.arrivals)
    chart = arrivals_chart(rows.group_by("day", by).agg(pl.col("files").sum()), by)
    st.altair_chart(chart, alt=f"Files by day and {by}")


def _ages(visit: Visit, model: ModelInUse) -> None:
    st.header("Estimated ages and genders", anchor=False)
    ages = by_age(visit.tables.pool(model.model_hash))
    if not ages.is_empty():
        st.altair_chart(age_histogram(ages), alt="Estimated ages of all scored faces, by gender")
