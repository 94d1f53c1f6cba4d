"""The common parts of our dashboards: data source, links between them, alerts as annotations."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from .panels import RED, SOURCE

TAG = "tickstock"

Rows = Mapping[str, Sequence[Builder[Panel]]]


def board(uid: str, title: str, rows: Rows, *, says: str, chooses: Mapping[str, str] | None = None) -> Dashboard:
    """Make a dashboard from rows of panels.

    chooses: labels with selectable values, each with a metric that has it.
    """
    made = (
        build.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags([TAG])
        .readonly()
        .time("now-1h", "now")
        .refresh("10s")
        .timezone("utc")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_others())
        .annotation(_alerts())
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for label, metric in (chooses or {}).items():
        made = made.with_variable(_choice(label, metric))
    for heading, panels in rows.items():
        made = made.with_row(build.Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    return _numbered(made.build())


def _others() -> build.DashboardLink:
    link = build.DashboardLink("TickStockPL").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.keep_time(keep_time=True)


def _alerts() -> build.AnnotationQuery:
    """Show when alerts fired."""
    query = build.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(enable=True).icon_color(RED)
    return query.expr('ALERTS{alertname=~"TickStock.*", alertstate="firing"}')


def _choice(label: str, metric: str) -> build.QueryVariable:
    return (
        build.QueryVariable(label)
        .label(label.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({metric}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NUMERICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )


def _numbered(made: Dashboard) -> Dashboard:
    """Give each panel its number, so that a link to it stays valid."""
    for number, panel in enumerate(made.panels or [], 1):
        panel.id_val = number
    return made
