"""`tickstock publish-test-pattern`."""

import random
from contextlib import AbstractContextManager

import click

from ....db.schema.migrate import check_schema
from ...jobs.known_names import known_patterns
from ...output.drawn_pattern import DrawnPattern, draw, log_and_publish, redis_s
from ...wiring.servers import Place, open_postgres, open_redis_to_look
from ..parts.options import CONTEXT, Number, server_options
from ..parts.selection import NamesType
from ..parts.setting import typed


class NameType(click.ParamType[str]):
    """A name of 1 to `longest` printable characters."""

    name = "NAME"

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name without blanks around it."""
        text = str(value).strip()
        if not text or len(text) > self._longest or not text.isprintable():
            self.fail(f"{text!r} is not a name of 1 to {self._longest} printable characters", param, ctx)
        return text


@click.command("publish-test-pattern", context_settings=CONTEXT, short_help="Publish test patterns on the channels.")
@typed(
    "--symbol",
    "symbols",
    type=NamesType(20),
    show_default="random",
    help="Symbols; each gets a pattern.",
)
@typed("--pattern", type=NameType(50), show_default="random", help="Name of a pattern that is defined.")
@typed("--confidence", type=Number(0, 1), show_default="random, 0.7 to 0.99", help="Confidence of the pattern.")
@typed("--tier", type=click.Choice(["test", "intraday", "daily", "combo"]), default="test", help="Tier of the pattern.")
@typed("--count", type=click.IntRange(1, 10_000), default=1, help="How many patterns, for each symbol.")
@typed("--seed", type=int, help="The same seed gives the same patterns. Each flow_id is new.")
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
    """Publish test patterns as real ones are published: first a row in integration_events, then the pattern channels.

    tickstock:patterns:detected carries only patterns with a confidence of 0.8 or more. No row of intraday_patterns is
    written.
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
