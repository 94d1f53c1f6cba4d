"""`tickstock dlq`: the dead letters."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from ....contracts.ticks import REASONS
from ....db.postgres import Connection
from ....db.schema.migrate import check_schema
from ...jobs import dead_letters
from ...jobs.dead_letters import DeadLetter, as_object
from ...process.console import make_console
from ...wiring.servers import Place, open_postgres, open_redis
from ..parts.options import CONTEXT, server_options
from ..parts.setting import typed

_SHORT = 60
_LEAST_WIDTH = 160
_REFUSED_SHOWN = 20

_reason = typed(
    "--reason",
    type=click.Choice(REASONS),
    metavar="REASON",
    help=f"Only dead letters with this reason: {', '.join(REASONS)}.",
)


class LetterId(click.IntRange):
    """The number of a dead letter, not the id of a stream entry."""

    name = "id"

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        if not str(value).isdecimal():
            self.fail(
                f"{value!r} is not the number of a dead letter, such as 17: `tickstock dlq ls` shows the numbers",
                param,
                ctx,
            )
        return int(super().convert(value, param, ctx))


_ids = click.argument("ids", nargs=-1, type=LetterId())
_all = typed("--all", "everything", is_flag=True, help="All dead letters.")


@click.group(context_settings=CONTEXT, short_help="List, show, resend or drop refused ticks.")
def dlq() -> None:
    """Dead letters: refused ticks, each with the reason and the original."""


@contextmanager
def _opened(place: Place) -> Iterator[Connection]:
    with open_postgres(place, name="tickstock-dlq") as connection:
        check_schema(connection)
        yield connection


@dlq.command(context_settings=CONTEXT)
@_reason
@typed("--limit", type=click.IntRange(1, 1_000_000), default=50, help="Most rows to list.")
@typed("--json", "as_json", is_flag=True, help="Print one JSON object in each line.")
@server_options
def ls(where: AbstractContextManager[Place], reason: str | None, limit: int, as_json: bool) -> None:
    """List dead letters, the latest first."""
    with where as place, _opened(place) as connection:
        letters = dead_letters.list_letters(connection, reason=reason, limit=limit)
    if as_json:
        for letter in letters:
            click.echo(msgspec.json.encode(as_object(letter)).decode())
    elif letters:
        _print_table(letters)
    else:
        click.echo("no dead letters")


def _print_table(letters: list[DeadLetter]) -> None:
    table = Table("id", "time (UTC)", "partition", "producer", "reason", "detail", "original")
    for letter in letters:
        at, original = _moment(letter.created_at), letter.text if letter.text is not None else letter.original.hex()
        row = (letter.producer or "-", letter.reason, letter.detail, _shortened(original))
        # Text, not markup: an original may hold anything, [red] too.
        table.add_row(str(letter.id), at, str(letter.partition), *map(Text, row))
    console = make_console()
    (console if console.is_terminal else make_console(width=_LEAST_WIDTH)).print(table)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dlq.command(context_settings=CONTEXT, short_help="Print one dead letter.")
@click.argument("letter_id", metavar="ID", type=LetterId())
@server_options
def show(where: AbstractContextManager[Place], letter_id: int) -> None:
    """Print one dead letter, with its original as text, or as hex if it is not text."""
    with where as place, _opened(place) as connection:
        letter = dead_letters.read_letter(connection, letter_id)
    click.echo(f"id         {letter.id}")
    click.echo(f"time       {_moment(letter.created_at)} UTC")
    click.echo(f"partition  {letter.partition}")
    click.echo(f"producer   {letter.producer or '-'}")
    click.echo(f"reason     {letter.reason}")
    click.echo(f"detail     {letter.detail}")
    click.echo(f"original   {len(letter.original):,} bytes{'' if letter.text is not None else ', in hex'}:")
    click.echo(letter.text if letter.text is not None else _hex_lines(letter.original))


def _hex_lines(body: bytes) -> str:
    return "\n".join(f"{at:06x}  {body[at : at + 32].hex(' ', 4)}" for at in range(0, len(body), 32))


@dlq.command(context_settings=CONTEXT, short_help="Send originals through the front door again.")
@_ids
@_all
@_reason
@server_options
def requeue(where: AbstractContextManager[Place], ids: tuple[int, ...], everything: bool, reason: str | None) -> None:
    """Send originals through the front door again. A dead letter that is sent is deleted.

    If the front door cannot read an original, its dead letter stays, and a line says why. Exit 1 if one stays.
    """
    with where as place, _opened(place) as connection:
        chosen = dead_letters.choose(connection, ids, everything=everything, reason=reason)
        requeued = dead_letters.requeue(connection, open_redis(place), chosen)
    click.echo(f"{requeued.sent:,} sent")
    if requeued.too_old:
        click.echo(f"{requeued.too_old:,} of these are older than 15 minutes: the workers will refuse them as too_late")
    for letter, why in requeued.refused[:_REFUSED_SHOWN]:
        click.echo(f"{letter} stays: {why}", err=True)
    if len(requeued.refused) > _REFUSED_SHOWN:
        click.echo(f"and {len(requeued.refused) - _REFUSED_SHOWN:,} more stay", err=True)
    if requeued.refused:
        sys.exit(1)


@dlq.command(context_settings=CONTEXT)
@_ids
@_all
@_reason
@typed("--yes", is_flag=True, help="Do not ask for confirmation.")
@server_options
def drop(
    where: AbstractContextManager[Place], ids: tuple[int, ...], everything: bool, reason: str | None, yes: bool
) -> None:
    """Delete dead letters. The ledger still counts their ticks."""
    with where as place, _opened(place) as connection:
        chosen = dead_letters.choose(connection, ids, everything=everything, reason=reason)
        count = dead_letters.count(connection, chosen)
        if count and not yes:
            click.confirm(f"Delete {count:,} dead letters?", abort=True)
        click.echo(f"{dead_letters.drop(connection, chosen):,} deleted")
