"""`tickstock patterns draw`."""

from importlib.util import find_spec
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ....contracts.spellings.trade_conditions import TRADE_RULES
from ...process.extras import how_to_install
from ...process.logs import set_up_logs
from ..parts.fleet_settings import trade_rules_option
from ..parts.options import CONTEXT, errors_end_the_command
from ..parts.pattern_options import pattern_names_option, timeframe_names
from ..parts.setting import typed


@click.command(context_settings=CONTEXT, short_help="Draw patterns of files.")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@pattern_names_option("the patterns that are on by default")
@timeframe_names
@trade_rules_option
@typed("--count", type=click.IntRange(1, 1000), default=10, help="Number of pictures of each pattern.")
@typed("--seed", type=click.IntRange(0), default=1, help="The same seed gives the same pictures.")
@typed(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("pictures"), help="Folder for the pictures."
)
def draw(
    files: tuple[str, ...],
    names: tuple[str, ...] | None,
    timeframes: tuple[str, ...],
    trade_rules: TRADE_RULES | None,
    count: int,
    seed: int,
    out: Path,
) -> None:
    """Draw patterns of FILES that workers would publish: candles, levels, and the bar that completes the pattern.

    FILES are as for `tickstock patterns measure`, and the bars go through the same detectors. The detections are chosen
    at random: the pictures show what is published, not what looks best. Bars in grey came after the detection.
    Needs the extra `chart`.
    """
    with errors_end_the_command():
        set_up_logs(level="warning", as_json=False)
        if find_spec("matplotlib") is None:
            raise UsageError(f"matplotlib is not installed: {how_to_install('chart')}")
        from ...measure.pictures import draw_patterns  # noqa: PLC0415  # matplotlib is an extra

        for line in draw_patterns(files, names, timeframes, trade_rules, count=count, seed=seed, out=out):
            click.echo(line)
