"""`tickstock chart`."""

from contextlib import AbstractContextManager
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ....db.rows import pattern_row, select_bars, select_patterns
from ....db.schema.migrate import check_schema
from ...process.extras import how_to_install
from ...wiring.servers import Place, open_postgres
from ..parts.options import CONTEXT, OutputFile, server_options
from ..parts.selection import Selection, TimeType, timeframe_option
from ..parts.setting import typed

_KINDS = (".png", ".svg", ".pdf")
_BARS = 120


@click.command(context_settings=CONTEXT, short_help="Draw the bars and patterns of a symbol.")
@click.argument("symbol")
@timeframe_option("1min")
@typed("--from", "start", type=TimeType(), help="Only bars that start at or after this time (UTC).")
@typed("--to", "end", type=TimeType(), help="Only bars that start before this time (UTC).")
@typed("--last", type=click.IntRange(1, 2000), default=_BARS, help="Number of bars, the latest ones.")
@typed("--out", type=OutputFile(), show_default="SYMBOL-TIMEFRAME.png", help="File to write: .png, .svg or .pdf.")
@server_options
def chart(
    where: AbstractContextManager[Place],
    symbol: str,
    timeframe: str,
    start: datetime | None,
    end: datetime | None,
    last: int,
    out: Path | None,
) -> None:
    """Draw candles, volume and patterns as a picture: tickstock chart AAPL --timeframe 5min.

    The mark of a bullish pattern is below its bar and points up; other marks are above and point down. Dotted lines are
    levels. Partial bars have a grey background. Needs the extra `chart`. Exit 1 if there are no bars.
    """
    if find_spec("matplotlib") is None:
        raise UsageError(f"matplotlib is not installed: {how_to_install('chart')}")
    file = out or Path(f"{symbol.replace('/', '-')}-{timeframe}.png")
    if file.suffix.lower() not in _KINDS:
        raise UsageError(f"{file}: its name must end in {', '.join(_KINDS)}")
    from ...output.chart import candle_of, draw, pattern_of  # noqa: PLC0415  # matplotlib is an extra

    chosen = Selection((symbol,), start, end, last)
    with where as servers, open_postgres(servers, name="tickstock-chart") as connection:
        check_schema(connection)
        with connection.cursor() as cursor:
            select_bars(cursor, chosen.values(), timeframe)
            bars = [candle_of(row) for row in chosen.chosen(cursor)]
            chosen.check_found(f"{timeframe} bars")
            select_patterns(cursor, chosen.values() | {"from": bars[0].at}, timeframe=timeframe, patterns=None)
            patterns = [pattern_of(pattern_row(row)) for row in cursor]
    draw(f"{symbol}, {timeframe}", bars, patterns, file)
    click.echo(f"{len(bars)} bars, {len(patterns)} patterns: {file}")
