"""The pages' charts. Their colours keep a contrast of 3:1 on the light and the dark background alike."""

import altair as alt
import polars as pl

GENDER_COLOURS = {"female": "#8465d8", "male": "#128a75", "uncertain": "#7f8894", "not judged": "#5c7cfa"}
LINE_COLOURS = ("#5c7cfa", "#c9701f")
_BAND_YEARS = 5


def age_histogram(ages: pl.DataFrame) -> alt.Chart:
    """`ages`: faces by whole years and gender."""
    bands = (
        ages.with_columns(
            pl.col("gender").fill_null("not judged"), low=(pl.col("age") // _BAND_YEARS * _BAND_YEARS).cast(pl.Int64)
        )
        .group_by("low", "gender")
        .agg(pl.col("faces").sum())
        .with_columns(high=pl.col("low") + _BAND_YEARS)
        .with_columns(years=pl.format("{} to {}", "low", pl.col("high") - 1))
    )
    names = [name for name in GENDER_COLOURS if name in set(bands["gender"])]
    colours = alt.Scale(domain=names, range=[GENDER_COLOURS[name] for name in names])
    oldest = max(80, int(bands["high"].max() or 0))  # type: ignore[arg-type]
    return (
        alt.Chart(bands)
        .mark_bar(binSpacing=2, cornerRadiusTopLeft=2, cornerRadiusTopRight=2)
        .encode(
            x=alt.X("low:Q", title="estimated age, years", bin="binned", scale=alt.Scale(domain=[0, oldest], nice=False)),
            x2="high:Q",
            y=alt.Y("faces:Q", title="faces", axis=alt.Axis(tickMinStep=1, tickCount=4)),
            color=alt.Color("gender:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
            tooltip=[
                alt.Tooltip("years:N", title="years"),
                alt.Tooltip("gender:N", title="gender"),
                alt.Tooltip("faces:Q", title="faces"),
            ],
        )
        .properties(height=210)
    )


def epochs_chart(history: pl.DataFrame, columns: dict[str, str], title: str, unit_format: str) -> alt.LayerChart:
    """Lines over the epochs: `columns` are the history's columns with what to call them; `unit_format` is d3's."""
    lines = (
        history.select(pl.col("epoch") + 1, *columns)
        .rename(columns)
        .unpivot(index="epoch", variable_name="line", value_name="value")
        .drop_nulls()
    )
    names = list(columns.values())
    few = [name for name in names if name in set(lines["line"])]
    colours = alt.Scale(domain=few, range=list(LINE_COLOURS[: len(few)]))
    legend = alt.Legend(title=None, orient="top") if len(few) > 1 else None
    base = alt.Chart(lines).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False)),
        y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False), axis=alt.Axis(format=unit_format, tickCount=5)),
        color=alt.Color("line:N", scale=colours, legend=legend),
        tooltip=[
            alt.Tooltip("line:N", title="line"),
            alt.Tooltip("epoch:Q", title="epoch"),
            alt.Tooltip("value:Q", title=title, format=unit_format),
        ],
    )
    points = base.mark_point(size=55, filled=True, opacity=1)
    return (base.mark_line(strokeWidth=2.4) + points).properties(height=260)
