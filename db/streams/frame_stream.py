"""Send frames to tickstock-stream:{pN}, each in one MULTI/EXEC together with the producer's `sent` number."""

from collections.abc import Sequence
from typing import NamedTuple

from ...contracts.frames.frame import FIELD
from ...contracts.names import flow_key, stream_key
from ..redis import Client, is_foreign, is_pause
from .flow import sent_field


class Send(NamedTuple):
    """One frame to send. sent: the value for `sent:PRODUCER`, "number,sends"."""

    partition: int
    body: bytes
    sent: str


class FrameOutcome(NamedTuple):
    """The result of a Send. refused: the reason why Redis refused the frame; None if it accepted the frame.

    is_noted: Redis wrote the `sent` value, perhaps without the frame. before: the value that it replaced (None: none).
    is_foreign: a key of the partition holds another type; sending again would not help.
    """

    before: str | None
    refused: str | None
    is_noted: bool
    is_foreign: bool = False


def send(client: Client, producer: str, sends: Sequence[Send]) -> list[FrameOutcome]:
    """Send frames in order, in one pipeline of MULTI/EXECs. A plain pipeline can be refused in the middle of a frame.

    Raises if the connection is lost: then it is unknown which frames arrived, until the numbers are read.
    """
    field = sent_field(producer)
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
    """Return the consumer groups of all partitions' streams; no group for a missing key or a key of another type."""
    pipeline = client.pipeline(transaction=False)
    for partition in range(partitions):
        pipeline.xinfo_groups(stream_key(partition))
    replies = pipeline.execute(raise_on_error=False)
    found = (group for reply in replies if not isinstance(reply, Exception) for group in reply)
    return {group["name"].decode(errors="replace") for group in found}


def _outcome(replies: Sequence[object]) -> FrameOutcome:
    done = replies[4] if isinstance(replies[4], list) else []
    errors = [reply for reply in (*replies, *done) if isinstance(reply, Exception)]
    for error in errors:
        if not is_pause(error) and not is_foreign(error):
            raise error
    is_noted = bool(done) and not any(isinstance(reply, Exception) for reply in (done[0], done[2]))
    before = done[0].decode(errors="replace") if is_noted and done[0] is not None else None
    refused = None if is_noted and not errors else str(errors[0]) if errors else "EXEC returned nothing"
    return FrameOutcome(before, refused, is_noted, any(is_foreign(error) for error in errors))
