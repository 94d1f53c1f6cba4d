"""The style of our panels. Unknown values are shown as `unknown` in purple, never in green.

A figure is an instant query and shows its last value: Grafana's usual `lastNotNull` would skip a NaN and show the
number before it. An expression without a result becomes NaN in the query itself.
"""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    TableSortByFieldState,
    VizLegendOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

UNKNOWN = "unknown"
GREEN, ORANGE, RED, PURPLE, BLUE = "green", "orange", "red", "purple", "blue"
OTHERWISE = " or on() vector(NaN)"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

_FIGURE_WIDTH, _FIGURE_HEIGHT = 4, 4
_GRAPH_HEIGHT = 8

Steps = Sequence[tuple[float, str]]


def figure(
    title: str, expr: str, *, says: str, unit: str, below: str = GREEN, steps: Steps = (), words: Mapping[int, str] = {}
) -> stat.Panel:
    """Make a panel that shows one number, or one number for each label.

    below: colour below the first step; steps: (value, colour) from that value on; words: text for a whole number.
    """
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .with_target(_query(expr + OTHERWISE, "A", "").instant())
        .unit(unit)
        .thresholds(_thresholds(below, steps))
        .mappings(_mappings(words))
        .no_value(UNKNOWN)
        .reduce_options(ReduceDataOptions().calcs(["last"]))
        .color_mode(BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(BigValueGraphMode.NONE)
        .span(_FIGURE_WIDTH)
        .height(_FIGURE_HEIGHT)
    )


def graph(
    title: str, queries: Mapping[str, str], *, says: str, unit: str, width: int = 12, steps: Steps = ()
) -> timeseries.Panel:
    """Make a graph over time; an unknown value interrupts its line.

    queries: legend (with {{label}}) to expression; steps: drawn as dashed lines.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(f"{says} An interrupted line: unknown.")
        .datasource(SOURCE)
        .targets([_query(expr, ref, legend).range() for ref, (legend, expr) in zip("ABCDEFGH", queries.items())])  # noqa: B905  # as many letters as it takes
        .unit(unit)
        .min(0)
        .no_value(UNKNOWN)
        .span_nulls(False)
        .fill_opacity(8)
        .legend(
            VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .calcs(["last", "max"])
        )
        .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .span(width)
        .height(_GRAPH_HEIGHT)
    )
    if steps:
        style = GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(GREEN, steps)).thresholds_style(style)
    return panel


def rows(
    title: str, columns: Mapping[str, tuple[str, str]], *, says: str, labels: Mapping[str, str], worst_of: str
) -> table.Panel:
    """Make a table of instant queries, joined by their labels.

    columns: heading to (expression, unit); labels: those that become columns, with their headings; worst_of: the
    heading of the column to sort by, largest first.
    """
    refs = dict(zip("ABCDEFGH", columns.items()))  # noqa: B905  # as many letters as it takes
    values = {ref: f"Value #{ref}" if len(refs) > 1 else "Value" for ref in refs}  # Grafana's names of these columns
    headings = dict(labels) | {values[ref]: heading for ref, (heading, _) in refs.items()}
    order = {name: place for place, name in enumerate(headings)}
    panel = (
        table.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .targets(
            [_query(expr, ref, "").instant().format(PromQueryFormat.TABLE) for ref, (_, (expr, _)) in refs.items()]
        )
        .with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": headings},
            )
        )
        .no_value(UNKNOWN)
        .mappings(_mappings({}))
        .span(24)
        .height(10)
    )
    for heading, (_, unit) in columns.items():
        panel = panel.override_by_name(heading, [DynamicConfigValue(id_val="unit", value=unit)])
    return panel.sort_by([TableSortByFieldState().display_name(worst_of).desc(desc=True)])


def quantiles(histogram: str) -> dict[str, str]:
    """Return the queries of a histogram's median and 99th percentile; without measurements they have no result."""
    buckets = f"sum by (le) (rate({histogram}_bucket[$__rate_interval]))"
    return {f"p{q * 100:.0f}": f"histogram_quantile({q}, {buckets})" for q in (0.5, 0.99)}


def _query(expr: str, ref: str, legend: str) -> Dataquery:
    return Dataquery().expr(expr).ref_id(ref).legend_format(legend).datasource(SOURCE)


def _thresholds(below: str, steps: Steps) -> build.ThresholdsConfig:
    found = [Threshold(value=None, color=below), *(Threshold(value=value, color=color) for value, color in steps)]
    return build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _mappings(words: Mapping[int, str]) -> list[ValueMapping]:
    unknown = DashboardSpecialValueMapOptions(
        match=SpecialValueMatch.NULL_AND_NAN, result=ValueMappingResult(text=UNKNOWN, color=PURPLE, index=0)
    )
    texts = {
        str(value): ValueMappingResult(text=word, index=place) for place, (value, word) in enumerate(words.items(), 1)
    }
    return [SpecialValueMap(options=unknown), *([ValueMap(options=texts)] if texts else [])]
