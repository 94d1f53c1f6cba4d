"""Frames into tickstock-stream:{pN}: each in one MULTI/EXEC with the producer's `sent` number beside it."""

from collections.abc import Sequence
from typing import NamedTuple

from ...contracts.frames.frame import FIELD
from ...contracts.names import flow_key, stream_key
from ..redis import Client, is_foreign, is_pause

_MOST_DIGITS = 19  # of an int64


def is_number(text: bytes) -> bool:
    """Tell whether a field of a flow hash holds a number: anybody may write there."""
    return text.isdigit() and len(text) <= _MOST_DIGITS and int(text) < 1 << 63


def number_of(text: bytes | None) -> int:
    """Return the number that a field of a flow hash holds; 0 where it is absent, or none."""
    return int(text) if text is not None and is_number(text) else 0


class Send(NamedTuple):
    """One frame on its way. sent: the value for `sent:PRODUCER`, "number,sends"."""

    partition: int
    body: bytes
    sent: str


class FrameOutcome(NamedTuple):
    """What became of a Send. before: the `sent` that stood there (None: none); refused: why Redis did not take it.

    is_foreign: a key of the partition holds something else, so that sending again would not help.
    """

    before: str | None
    refused: str | None
    is_foreign: bool = False


def send(client: Client, producer: str, sends: Sequence[Send]) -> list[FrameOutcome]:
    """Send frames in order, in one pipeline of MULTI/EXECs: a plain one can be refused in the middle of a frame.

    Raises where the connection is lost: then nobody knows which of them arrived, and the numbers will tell.
    """
    field = f"sent:{producer}"
    pipeline = client.pipeline(transaction=False)
    for partition, body, sent in sends:
        flow = flow_key(partition)
        pipeline.execute_command("MULTI")
        pipeline.execute_command("HGET", flow, field)
        pipeline.execute_command("XADD", stream_key(partition), "*", FIELD, body)
        pipeline.execute_command("HSET", flow, field, sent)
        pipeline.execute_command("EXEC")
    replies = pipeline.execute(raise_on_error=False)
    return [_outcome(replies[i : i + 5]) for i in range(0, len(replies), 5)]


def groups_of(client: Client, partitions: int) -> set[str]:
    """Return the consumer groups of all partitions' streams; none for a missing key or a key of another type."""
    pipeline = client.pipeline(transaction=False)
    for partition in range(partitions):
        pipeline.xinfo_groups(stream_key(partition))
    replies = pipeline.execute(raise_on_error=False)
    found = (group for reply in replies if not isinstance(reply, Exception) for group in reply)
    return {group["name"].decode(errors="replace") for group in found}


def _outcome(replies: Sequence[object]) -> FrameOutcome:
    done = replies[4]
    errors = [reply for reply in (*replies, *(done if isinstance(done, list) else ())) if isinstance(reply, Exception)]
    if not errors and isinstance(done, list):
        before = done[0]
        return FrameOutcome(before.decode(errors="replace") if before is not None else None, None)
    for error in errors:
        if not is_pause(error) and not is_foreign(error):
            raise error
    is_left_out = any(is_foreign(error) for error in errors)
    return FrameOutcome(None, str(errors[0]) if errors else "EXEC answered nothing", is_left_out)
