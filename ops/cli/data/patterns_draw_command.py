"""`tickstock patterns draw`."""

from importlib.util import find_spec
from pathlib import Path

import click

from ....contracts.errors import UsageError
from ....contracts.spellings.trade_conditions import TRADE_RULES
from ...process.extras import how_to_install
from ...process.logs import set_up_logs
from ..parts.options import CONTEXT, errors_end_the_command, trade_rules_option
from ..parts.pattern_options import pattern_names_option, timeframe_names


@click.command(context_settings=CONTEXT, short_help="Draw patterns that are found in files.")
@click.argument("files", nargs=-1, required=True, type=click.Path())
@pattern_names_option("the patterns that are on by default")
@timeframe_names
@trade_rules_option
@click.option("--count", type=click.IntRange(1, 1000), default=10, help="Pictures of each pattern.")
@click.option("--seed", type=click.IntRange(0), default=1, help="The same seed draws the same ones.")
@click.option(
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
    """Draw patterns that are found in FILES and told: candles, levels, the bar that completes the pattern.

    FILES are those of `tickstock patterns measure`, and the bars go through the same detectors. Which detections are
    drawn is left to chance, so that the pictures show what is told, not what looks best. What stands in grey came
    after: nobody knew it then. Needs the extra `chart`.
    """
    with errors_end_the_command():
        set_up_logs(level="warning", as_json=False)
        if find_spec("matplotlib") is None:
            raise UsageError(f"matplotlib is not installed: {how_to_install('chart')}")
        from ...measure.pictures import draw_patterns  # noqa: PLC0415  # matplotlib is an extra

        for line in draw_patterns(files, names, timeframes, trade_rules, count=count, seed=seed, out=out):
            click.echo(line)
