"""The registered models: each with its figures and card, two side by side, and which one is the champion."""

from collections.abc import Mapping

import polars as pl
import streamlit as st

from review.report import SIDES, key_figures, measured_sides, parts_tables, side_by_side
from review.visit import Visit
from review.words import card_text, plain
from storage.audit import promotions
from storage.registry import Version, champion, pretrained, promote, versions


def page(visit: Visit) -> None:
    st.title("Models", anchor=False)
    workspace = visit.workspace
    registered = versions(workspace)[::-1]
    if not registered:
        st.info("No model of your own is registered yet; the shipped one scores. Export a finished run:")
        st.code(f"faceline export latest --workspace {workspace.root}", language="shell", wrap_lines=True)
        return
    best = champion(workspace)
    _compare(registered, best, visit)
    st.header("Registered models", anchor=False)
    for version in registered:
        _model(version, is_champion=_is(version, best))
    log = promotions(workspace)
    if not log.is_empty():
        st.header("Promotions", anchor=False)
        when = pl.col("at").str.to_datetime(time_zone="UTC").dt.strftime("%Y-%m-%d %H:%M")
        columns = {"at": "When (UTC)", "by": "By", "promoted": "Version", "reason": "Why"}
        st.dataframe(log.with_columns(when).rename(columns), hide_index=True)


def _compare(registered: list[Version], best: Version | None, visit: Visit) -> None:
    """The champion, or the shipped model where there is none, against another one."""
    before = best or pretrained()
    others = {version.name: version for version in registered if not _is(version, best)}
    if not others:
        return
    st.header("Champion and challenger", anchor=False)
    name = st.selectbox("Challenger", list(others), key="challenger", bind="query-params", width=420)
    challenger = others.get(name, next(iter(others.values())))
    metrics = before.metrics(), challenger.metrics()
    sides = [side for side in measured_sides(metrics[0]) if side in measured_sides(metrics[1])]
    if sides:
        st.caption(
            f"The champion is {plain(before.name)}. Each was measured on its {SIDES[sides[0]]}; 95 % intervals are in "
            "brackets."
        )
        side_by_side(("Champion", "Challenger"), (metrics[0][sides[0]], metrics[1][sides[0]]))
    if not visit.read_only:
        _promotion(visit, challenger)


def _promotion(visit: Visit, challenger: Version) -> None:
    """Promotes without the command's test on the same rows, so a person must say why."""
    command = f"faceline models promote {challenger.name} --workspace {visit.workspace.root}"
    with st.popover("Make it the champion", icon=":material/trophy:"):
        st.markdown(
            "The champion scores from the next run on. This command compares both on the same test faces, and promotes "
            "the challenger only if it is better:"
        )
        st.code(command, language="shell", wrap_lines=True)
        st.markdown("To promote it without that comparison, say why; your name and the reason are kept in the log.")
        with st.form("promotion", border=False):
            reason = st.text_input("Reason", key="promotion_reason", max_chars=300, required=True)
            sure = st.form_submit_button(plain(f"Promote {challenger.name}"), disabled=not visit.reviewer)
        if not visit.reviewer:
            st.info("Type your name in the sidebar first: it is kept with the promotion.")
        if sure and reason and reason.strip():
            promote(visit.workspace, challenger.name, f"{visit.reviewer}, on the review pages: {reason.strip()}")
            st.rerun()


def _model(version: Version, *, is_champion: bool) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{plain(version.name)}**", width="content")
            if is_champion:
                st.badge("champion", icon=":material/trophy:", color="blue")
        st.caption(f"SHA-256 {version.model_hash}")
        metrics: Mapping = version.metrics()
        if sides := measured_sides(metrics):
            with st.expander(f"Figures on its {SIDES[sides[0]]}"):
                key_figures(metrics[sides[0]])
                parts_tables(metrics[sides[0]])
        with st.expander("Model card"):
            st.markdown(card_text(version.card()))


def _is(version: Version, best: Version | None) -> bool:
    return best is not None and version.name == best.name
