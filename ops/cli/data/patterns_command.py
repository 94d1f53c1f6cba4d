"""`tickstock patterns`."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ....contracts.errors import UsageError
from ....db.rows import PATTERN, pattern_row, select_patterns
from ....db.schema.migrate import check_schema
from ...jobs.known_names import known_patterns
from ...output.bars_text import short
from ...wiring.servers import Place, open_postgres
from ..parts.lazy_group import LazyGroup
from ..parts.options import CONTEXT, OutputFile, server_options
from ..parts.rows_text import write_rows
from ..parts.selection import MOMENT, NamesType, Selection, as_moment, selection_options, timeframe_option
from ..parts.setting import typed

# A table in a terminal has no room for the flow_id: `--format json` and `csv` have it.
_SHOWN = PATTERN[:-1]


@click.group(
    cls=LazyGroup,
    modules={"measure": "data.patterns_measure_command", "draw": "data.patterns_draw_command"},
    invoke_without_command=True,
    context_settings=CONTEXT,
    short_help="Print the patterns that were detected; measure and draw patterns of files.",
)
@click.pass_context
@selection_options
@timeframe_option(None)
@typed("--pattern", "names", type=NamesType(), show_default="all", help="Only these patterns.")
@typed(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    help="json: one object in each line.",
)
@typed("--output", type=OutputFile(), help="File to write.")
@typed("--flow-ids", is_flag=True, help="Also in a table: the flow_id of each pattern, for `tickstock flow`.")
@server_options
def patterns(
    context: click.Context,
    where: AbstractContextManager[Place],
    chosen: Selection,
    timeframe: str | None,
    names: tuple[str, ...] | None,
    form: str,
    output: Path | None,
    flow_ids: bool,
) -> None:
    """Print the patterns on the bars of all feeds, published or not, by symbol and time.

    `bar` is the start of the bar on which a pattern was detected, UTC; price and volume are the close and the volume of
    that bar; levels are the prices that belong to the pattern (a neckline, a support), see docs/patterns.md. `tickstock
    flow` shows a pattern by its flow_id, even if a late tick superseded it or `tickstock prune` deleted its row. In CSV
    an apostrophe is put before a text that a spreadsheet would compute: '=1+1. Exit 1 if there is no such pattern.
    """
    if context.invoked_subcommand:
        given = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        if given:
            raise UsageError(f"put options of `tickstock patterns {context.invoked_subcommand}` after its name")
        return
    with where as servers, open_postgres(servers, name="tickstock-patterns") as connection:
        check_schema(connection)
        known_patterns(connection).check(names or ())
        columns = _SHOWN if form == "table" and not flow_ids else PATTERN
        with connection.transaction(), connection.cursor(name="patterns") as cursor:
            cursor.itersize = 10_000
            select_patterns(cursor, chosen.values(), timeframe=timeframe, patterns=list(names) if names else None)
            rows = (_spelled(pattern_row(row), form)[: len(columns)] for row in chosen.chosen(cursor))
            write_rows(columns, rows, form, output)
    chosen.check_found("patterns" if not names else f"{', '.join(names)} patterns")


def _spelled(row: tuple[Any, ...], form: str) -> tuple[Any, ...]:
    symbol, bar, timeframe, pattern, confidence, direction, price, volume, levels, flow_id = row
    if form != "json":
        levels = " ".join(map(short, levels))
    if form == "table":
        price, volume = short(price), "" if volume is None else f"{volume:,.0f}"
    return (
        *(symbol, as_moment(bar, MOMENT[form]), timeframe, pattern, confidence),
        *(direction, price, volume, levels, flow_id),
    )
