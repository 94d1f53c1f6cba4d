"""`tickstock publish-test-pattern`."""

import random
from contextlib import AbstractContextManager

import click

from ....db.schema.migrate import check_schema
from ...jobs.known_names import known_patterns
from ...output.drawn_pattern import DrawnPattern, draw, log_and_publish, redis_s
from ...wiring.servers import Place, open_postgres, open_redis_to_look
from ..parts.options import CONTEXT, Number, option, server_options
from ..parts.selection import NamesType


class NameType(click.ParamType[str]):
    """A name of 1 to so many printable characters."""

    name = "NAME"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name without blanks around it."""
        text = str(value).strip()
        if not text or len(text) > self._longest or not text.isprintable():
            self.fail(f"{text!r} is not a name of 1 to {self._longest} printable characters", param, ctx)
        return text


@click.command("publish-test-pattern", context_settings=CONTEXT, short_help="Send test patterns on the channels.")
@option("--symbol", "symbols", type=NamesType(20), show_default="drawn", help="Its symbol; of several, one of each.")
@option("--pattern", type=NameType(50), show_default="drawn", help="Its pattern's name, one that exists.")
@option("--confidence", type=Number(0, 1), show_default="drawn, 0.7 to 0.99", help="How sure it is.")
@option("--tier", type=click.Choice(["test", "intraday", "daily", "combo"]), default="test", help="Its tier.")
@option("--count", type=click.IntRange(1, 10_000), default=1, help="How many of them, or of each symbol.")
@option("--seed", type=int, help="Draw the same ones again; a flow_id is always new.")
@server_options
def publish_test_pattern(
    where: AbstractContextManager[Place],
    symbols: tuple[str, ...] | None,
    pattern: str | None,
    confidence: float | None,
    tier: str,
    count: int,
    seed: int | None,
) -> None:
    """Send test patterns the way that real ones go: logged in the database first, then said on the pattern channels.

    Below a confidence of 0.8, tickstock:patterns:detected does not carry them. No row of intraday_patterns is written.
    """
    chance = random.Random(seed)
    with where as servers, open_postgres(servers, name="tickstock-publish-test-pattern") as connection:
        check_schema(connection)
        known_patterns(connection).check([pattern] if pattern else [])
        client = open_redis_to_look(servers)
        for symbol in (symbols or (None,)) * count:
            drawn = draw(
                chance, symbol=symbol, pattern=pattern, confidence=confidence, tier=tier, now_s=redis_s(client)
            )
            _say(drawn, log_and_publish(connection, client, drawn))


def _say(pattern: DrawnPattern, heard: list[tuple[str, int]]) -> None:
    click.echo(f"{pattern.pattern} @ {pattern.symbol} (confidence {pattern.confidence:.2f}, tier {pattern.tier})")
    click.echo(f"  flow_id   {pattern.flow_id}")
    click.echo(f"  heard by  {', '.join(f'{count} on {channel}' for channel, count in heard)}")
    click.echo(f"  follow    tickstock flow {pattern.flow_id}")
