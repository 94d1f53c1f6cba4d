"""Dead letters: list the refused ticks, send them again through the front door, or delete them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ...contracts.errors import UsageError
from ...contracts.names import FRONT_DOOR, REQUEUED
from ...contracts.spellings.flat_file import columns_in, read_line, rules_of
from ...contracts.spellings.original import originals
from ...contracts.spellings.tick_json import parse_entries
from ...contracts.spellings.tick_values import NotATick, ticks_of_rows
from ...db.postgres import Connection
from ...db.queries import query
from ...db.redis import Client, is_pause, redis_ms
from ...workers.partition.tick_check import MS_NS, REVISION_WINDOW_NS

_HEX_BYTES = 256  # of an original that is not text; `tickstock dlq show` prints all of it


class DeadLetter(NamedTuple):
    """One refused row. producer: empty if the entry was not a frame."""

    id: int
    created_at: datetime
    partition: int
    producer: str
    reason: str
    detail: str
    original: bytes

    @property
    def text(self) -> str | None:
        """The original as text; None if a terminal cannot show it."""
        try:
            text = self.original.decode()
        except UnicodeDecodeError:
            return None
        return text if all(c.isprintable() or c in "\n\t" for c in text) else None


class Chosen(NamedTuple):
    """The letters for a command: these ids, or all (of one reason), up to the latest at its start."""

    ids: list[int] | None
    reason: str | None
    last: int


class Requeued(NamedTuple):
    """The result of sending again. too_old: sent, but the front door will refuse them as too late again."""

    sent: int
    too_old: int
    refused: list[tuple[int, str]]  # (id, why it was not sent)


def list_letters(connection: Connection, *, reason: str | None, limit: int) -> list[DeadLetter]:
    """Return letters, latest first."""
    values = {"reason": reason, "limit": limit}
    return [DeadLetter(*row) for row in connection.execute(query("list_dead_letters"), values)]


def read_letter(connection: Connection, letter: int) -> DeadLetter:
    """Return one letter. Raises UsageError if no letter has this id."""
    row = connection.execute(query("dead_letter"), {"id": letter}).fetchone()
    if row is None:
        raise UsageError(f"there is no dead letter {letter}")
    return DeadLetter(*row)


def choose(connection: Connection, ids: Sequence[int], *, everything: bool, reason: str | None) -> Chosen:
    """Return the chosen letters. Raises UsageError if the choice is unclear, or an id does not exist."""
    if bool(ids) == everything:
        raise UsageError("choose letters: either IDs, or --all (with --reason R: all of that reason)")
    if ids and reason:
        raise UsageError("--reason goes with --all")
    (last,) = connection.execute(query("last_dead_letter")).fetchone() or (0,)
    if not ids:
        return Chosen(None, reason, last)
    known = {number for (number,) in connection.execute(query("known_dead_letters"), {"ids": list(ids)})}
    if unknown := [str(number) for number in ids if number not in known]:
        raise UsageError(f"there is no dead letter {', '.join(unknown)}")
    return Chosen(list(ids), None, last)


def count(connection: Connection, chosen: Chosen) -> int:
    """Return the number of chosen letters."""
    (number,) = connection.execute(query("count_dead_letters"), chosen._asdict()).fetchone() or (0,)
    return int(number)


def drop(connection: Connection, chosen: Chosen) -> int:
    """Delete letters; return how many there were."""
    return connection.execute(query("drop_chosen_dead_letters"), chosen._asdict()).rowcount


# -- sending again -----------------------------------------------------------------------------------------------------


def requeue(connection: Connection, client: Client, chosen: Chosen) -> Requeued:
    """Send originals through the front door, and delete each letter that Redis accepted.

    A crash between the two keeps the letter, and the next try would send its tick twice. The rows stay locked from the
    read to the deletion, so that at least no other command sends them.
    """
    sent = too_old = above = 0
    refused: list[tuple[int, str]] = []
    oldest_ns = redis_ms(client) * MS_NS - REVISION_WINDOW_NS
    while True:
        with connection.transaction():
            values = chosen._asdict() | {"above": above}
            letters = connection.execute(query("lock_dead_letters"), values).fetchall()
            if not letters:
                return Requeued(sent, too_old, refused)
            above = letters[-1][0]
            spelled = {letter: _spell(original, detail, oldest_ns) for letter, original, detail in letters}
            entries = {letter: entry for letter, entry in spelled.items() if isinstance(entry, _Entry)}
            refused += [(letter, why) for letter, why in spelled.items() if isinstance(why, str)]
            taken, not_taken = _send(client, entries)
            connection.execute(query("drop_dead_letters"), {"ids": taken})
        refused += not_taken
        sent += len(taken)
        too_old += sum(entries[letter].too_old for letter in taken)


class _Entry(NamedTuple):
    fields: list[bytes]  # name, value, name, value ...
    too_old: bool


def _spell(original: bytes, detail: str, oldest_ns: int) -> _Entry | str:
    """Return the front-door entry for an original, or why there is none.

    The original is JSON, the fields of a plain entry, or a line of a flat file, whose columns are in the detail.
    """
    why = ""
    for fields in ([b"data", original], original.split(), _fields_of_line(original, columns_in(detail))):
        ticks = parse_entries([(0, fields)])
        if len(ticks) and not ticks.refused:
            named = [REQUEUED, b"1"] if "trade_key" in ticks.optional else []
            return _Entry([*fields, *named], bool((ticks.ts < oldest_ns).any()))
        why = why or next((f"{refused.reason}: {refused.detail}" for refused in ticks.refused), "it contains no tick")
    return f"the front door cannot read it ({why})"


def _fields_of_line(line: bytes, columns: Sequence[str]) -> list[bytes]:
    try:
        row = read_line(line, columns, rules_of(columns))
    except (NotATick, KeyError):
        return []
    return [] if row is None else [b"data", originals(ticks_of_rows([row]))[0]]


def _send(client: Client, entries: dict[int, _Entry]) -> tuple[list[int], list[tuple[int, str]]]:
    """Add entries to the front door; return the letters that Redis accepted, and those that it has no room for."""
    pipeline = client.pipeline(transaction=False)
    for entry in entries.values():
        pipeline.execute_command("XADD", FRONT_DOOR, "*", *entry.fields)
    taken: list[int] = []
    not_taken: list[tuple[int, str]] = []
    for letter, reply in zip(entries, pipeline.execute(raise_on_error=False), strict=True):
        if not isinstance(reply, Exception):
            taken.append(letter)
        elif isinstance(reply, ResponseError) and is_pause(reply):
            not_taken.append((letter, f"Redis does not accept it now ({reply})"))
        else:
            raise reply
    return taken, not_taken


def as_object(letter: DeadLetter) -> dict[str, Any]:
    """Return a letter for JSON: the original as text, or its first bytes as hex if it is not text; and its length."""
    fields = letter._asdict() | {"original": letter.text, "original_bytes": len(letter.original)}
    return fields if letter.text is not None else fields | {"original_hex": letter.original[:_HEX_BYTES].hex()}
