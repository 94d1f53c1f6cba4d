"""The stream tickstock-jobs, which deals steps of runs to workers. It is only a hint; the table decides."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from ...contracts.names import JOBS
from ...contracts.runs import StepKey, key_of
from .. import redis
from ..redis import Client

# as long as a lease: a consumer that was silent for so long has ended, or its token is no longer valid
CLAIM_AFTER_MS = 5_000
_BLOCK_MS = 200


class DealtStep(NamedTuple):
    """An entry of the stream. key: None if it is not one of our entries; is_taken_over: from a silent consumer."""

    entry: bytes
    key: StepKey | None
    token: int
    is_taken_over: bool = False


class JobsStream:
    """One consumer of the stream, or the coordinator that fills it."""

    def __init__(self, client: Client, consumer: str) -> None:
        self._client = client
        self._consumer = consumer

    def deal(self, steps: Iterable[tuple[StepKey, int]]) -> int:
        """Add the steps that are not yet in the stream; return how many."""
        there = {(one.key, one.token) for one in map(_dealt, self._client.execute_command("XRANGE", JOBS, "-", "+"))}
        missing = [step for step in steps if step not in there]
        pipeline = self._client.pipeline(transaction=False)
        for key, token in missing:
            pipeline.xadd(JOBS, {"step": key.text, "token": token})
        pipeline.execute()
        return len(missing)

    def read(self) -> DealtStep | None:
        """Read the next free step; wait up to 200 ms for one. If Redis lost the group, create it again."""
        try:
            reply = self._client.execute_command(
                *("XREADGROUP", "GROUP", JOBS, self._consumer, "COUNT", 1, "BLOCK", _BLOCK_MS, "STREAMS", JOBS, ">")
            )
        except ResponseError as e:
            if not redis.is_gone(e):
                raise
            redis.make_group(self._client, JOBS, JOBS)
            return None
        for _, entries in reply or ():
            return _dealt(entries[0])
        return None

    def claim(self) -> DealtStep | None:
        """Take over the oldest step of a silent consumer."""
        try:
            reply = self._client.execute_command(
                *("XAUTOCLAIM", JOBS, JOBS, self._consumer, CLAIM_AFTER_MS, "0-0", "COUNT", 1)
            )
        except ResponseError as e:
            if not redis.is_gone(e):
                raise
            return None
        entries = reply[1]
        return _dealt(entries[0])._replace(is_taken_over=True) if entries else None

    def keep(self, dealt: DealtStep) -> None:
        """Keep a step from being claimed: work on it continues."""
        try:
            self._client.xclaim(JOBS, JOBS, self._consumer, 0, [dealt.entry], justid=True)
        except ResponseError as e:
            if not redis.is_gone(e):
                raise

    def ack(self, dealt: DealtStep) -> None:
        """Remove a step from the stream: it is done, or is dealt again under another token."""
        pipeline = redis.node_of(self._client, JOBS).pipeline(transaction=True)
        pipeline.xack(JOBS, JOBS, dealt.entry)
        pipeline.xdel(JOBS, dealt.entry)
        pipeline.execute()


def _dealt(entry: Sequence[Any]) -> DealtStep:
    """Parse an entry; key is None if it is not one of ours, or was deleted while it was claimed."""
    entry_id, fields = entry
    values = dict(zip((fields or ())[::2], (fields or ())[1::2], strict=True))
    try:
        return DealtStep(entry_id, key_of(values[b"step"].decode()), int(values[b"token"]))
    except (KeyError, ValueError):
        return DealtStep(entry_id, None, 0)
