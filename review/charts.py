"""The pages' charts. Their colours keep a contrast of 3:1 on the light and the dark background alike."""

from datetime import timedelta

import altair as alt
import polars as pl

from storage.live_error import AGE_ERROR

GENDER_COLOURS = {"female": "#8465d8", "male": "#128a75", "uncertain": "#7f8894", "not judged": "#5c7cfa"}
LINE_COLOURS = {"training": "#5c7cfa", "validation": "#c9701f"}
KIND_COLOURS = ("#5c7cfa", "#c9701f", "#128a75", "#c2578f", "#8465d8", "#7f8894")
_EARLIER = "earlier models"
_BAND_YEARS = 5
_HEIGHT = 270  # pixels, with axes and a line of legend
_LEGEND_LINE = 19  # pixels


def age_histogram(ages: pl.DataFrame) -> alt.Chart:
    """`ages`: faces by whole years of age and by gender, as queries.faces_by_age gives them."""
    bands = _in_bands(ages)
    names = [name for name in GENDER_COLOURS if name in set(bands["gender"])]
    colours = alt.Scale(domain=names, range=[GENDER_COLOURS[name] for name in names])
    oldest = max([80, *bands["high"]])
    years = alt.X(
        "low:Q",
        title="estimated age, years",
        bin=alt.BinParams(binned=True, step=_BAND_YEARS),
        scale=alt.Scale(domain=[0, oldest], nice=False),
        axis=alt.Axis(values=list(range(0, oldest + 1, 10)), grid=False),
    )
    return (
        alt.Chart(bands)
        .mark_bar()
        .encode(
            x=years,
            x2="high:Q",
            y=alt.Y("faces:Q", title="faces", axis=alt.Axis(tickMinStep=1, tickCount=4, format="d")),
            color=alt.Color("gender:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
            tooltip=["years:N", "gender:N", "faces:Q"],
        )
        .properties(height=_HEIGHT)
    )


def arrivals_chart(rows: pl.DataFrame, by: str) -> alt.Chart:
    """Files a day, stacked `by` a column of names; where there are many of them, the rarer ones as one."""
    most = rows.group_by(by).agg(pl.col("files").sum()).sort("files", by, descending=[True, False])[by].to_list()
    if len(most) > len(KIND_COLOURS):
        most = most[: len(KIND_COLOURS) - 1]
    names = pl.when(pl.col(by).is_in(most)).then(pl.col(by)).otherwise(pl.lit("others"))
    shown = rows.group_by("day", names.alias(by)).agg(pl.col("files").cast(pl.Int64).sum()).sort("day", by)
    domain = [name for name in [*most, "others"] if name in set(shown[by])]
    colours = alt.Scale(domain=domain, range=list(KIND_COLOURS[: len(domain)]))
    return (
        alt.Chart(shown)
        .mark_bar()
        .encode(
            x=alt.X(
                "yearmonthdate(day):T",
                title=None,
                scale=_days(shown),
                axis=alt.Axis(grid=False, tickCount=8, format="%d %b"),
            ),
            y=alt.Y("files:Q", title="files", axis=alt.Axis(tickMinStep=1, tickCount=4, format="~s")),
            color=alt.Color(f"{by}:N", scale=colours, legend=_legend_of_long_names()),
            tooltip=[alt.Tooltip("day:T", format="%Y-%m-%d"), f"{by}:N", "files:Q"],
        )
        .properties(height=_height(domain))
    )


def error_chart(weeks: pl.DataFrame, figure: str, number_format: str) -> alt.LayerChart:
    """One figure of live_error_by_week, by week and with its interval, a colour a model; where there are many of them,
    the earlier ones have one together. Models of one week stand side by side, a day apart."""
    newest_first = (
        weeks.group_by("model_version").agg(pl.col("week").max()).sort("week", "model_version")["model_version"]
    )
    named = newest_first.reverse().to_list()
    if len(named) > len(KIND_COLOURS):
        named = named[: len(KIND_COLOURS) - 1]
    model = pl.when(pl.col("model_version").is_in(named)).then("model_version").otherwise(pl.lit(_EARLIER))
    place = pl.duration(days=pl.col("model_version").rank("dense").over("week") - 1)
    shown = weeks.with_columns(model=model, at=pl.col("week") + place).filter(figure=figure)
    domain = [name for name in [*named, _EARLIER] if name in set(shown["model"])]
    colours = alt.Scale(domain=domain, range=list(KIND_COLOURS[: len(domain)]))
    base = alt.Chart(shown).encode(
        x=alt.X(
            "yearmonthdate(at):T",
            title=None,
            scale=alt.Scale(padding=12),
            axis=alt.Axis(grid=False, tickCount=8, format="%d %b"),
        ),
        color=alt.Color("model:N", scale=colours, legend=_legend_of_long_names()),
    )
    axis = alt.Axis(format=number_format, tickCount=5)
    bars = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("low:Q", title=figure, axis=axis, scale=alt.Scale(zero=figure == AGE_ERROR)), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        y="value:Q",
        tooltip=[
            alt.Tooltip("week:T", format="%Y-%m-%d"),
            "model_version:N",
            *(alt.Tooltip(f"{name}:Q", format=number_format) for name in ("value", "low", "high")),
            "faces:Q",
        ],
    )
    return alt.LayerChart(layer=[bars, points]).properties(height=_height(domain))


def epochs_chart(history: pl.DataFrame, columns: dict[str, str], number_format: str) -> alt.LayerChart:
    """Lines over the epochs. `columns`: which of the history's columns is the training's or the validation's;
    `number_format` is d3's."""
    lines = (
        history.select(pl.col("epoch") + 1, *columns)
        .rename(columns)
        .unpivot(index="epoch", variable_name="line", value_name="value")
        .drop_nulls()
    )
    names = list(columns.values())
    colours = alt.Scale(domain=names, range=[LINE_COLOURS[name] for name in names])
    last = int(history["epoch"].len())
    epochs = alt.Axis(tickMinStep=1, format="d", grid=False, tickCount=min(last, 8))
    base = alt.Chart(lines).encode(
        x=alt.X("epoch:Q", title="epoch", axis=epochs, scale=alt.Scale(nice=False, padding=8)),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(format=number_format, tickCount=5)),
        color=alt.Color("line:N", scale=colours, legend=alt.Legend(title=None, orient="top")),
        tooltip=["line:N", "epoch:Q", alt.Tooltip("value:Q", format=number_format)],
    )
    chart = alt.LayerChart(layer=[base.mark_line(strokeWidth=2.4), base.mark_point(size=50, filled=True, opacity=1)])
    return chart.properties(height=_HEIGHT)


def _legend_of_long_names() -> alt.Legend:
    """One below the other: two folders or versions side by side are wider than a phone."""
    return alt.Legend(title=None, orient="top", labelLimit=300, columns=1)


def _height(names: list[str]) -> int:
    """Of a chart with such a legend."""
    return _HEIGHT + _LEGEND_LINE * (len(names) - 1)


def _days(shown: pl.DataFrame) -> alt.Scale:
    """From the first day to the last, but two weeks at the least: a single day would fill the whole width."""
    last = max(shown["day"])
    first = min([*shown["day"], last - timedelta(days=13)])
    ends = [alt.DateTime(year=end.year, month=end.month, date=end.day) for end in (first, last + timedelta(days=1))]
    return alt.Scale(domain=ends)


def _in_bands(ages: pl.DataFrame) -> pl.DataFrame:
    low = pl.col("age").cast(pl.Int64) // _BAND_YEARS * _BAND_YEARS
    bands = ages.group_by(pl.col("gender").fill_null("not judged"), low=low).agg(pl.col("faces").cast(pl.Int64).sum())
    return bands.with_columns(
        high=pl.col("low") + _BAND_YEARS, years=pl.format("{} to {}", "low", pl.col("low") + _BAND_YEARS - 1)
    ).sort("low", "gender")
