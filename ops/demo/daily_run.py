"""The end of a demo: a daily run over the demo's bars, and the messages that it published on the channels."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple
from uuid import UUID

from ...contracts.messages import channel_names
from ...contracts.messages.message_list import kind_of
from ...contracts.messages.processing_events import PHASES, RUN_COMPLETED
from ...contracts.runs import ALL_PHASES, EVERY_UNIVERSE, RunParameters
from ...db.postgres import Connection
from ...db.redis import Client
from ...db.redis_commands import Subscription
from ...db.tables.runs import RunRow
from ..jobs.runs import run_named, start_run, watch_run
from ..jobs.watch import message_of
from ..process.shutdown import Stop

CHANNELS = (
    channel_names.PROCESSING_STATUS,
    *(channel for phase in PHASES.values() for channel in phase.channels),
    channel_names.INDICATORS_CALCULATED,
)
_HEARD_WITHIN_S = 10.0  # to wait for the messages of the run's end; the bridge publishes within tenths of a second
_ENDS_WITHIN_S = 120.0


class DayRun(NamedTuple):
    """The result of the run. heard: channel -> number of its messages."""

    run: RunRow
    heard: Counter[str]

    @property
    def is_good(self) -> bool:
        """Tell whether the run completed, and its end was published with each of its names."""
        return self.run.status == "completed" and self.heard[channel_names.PROCESSING_STATUS] >= len(RUN_COMPLETED)

    def lines(self) -> Iterator[str]:
        """Return the result as lines of text."""
        run = self.run
        seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at and run.started_at else 0.0
        yield (
            f"daily run of {run.run_date}: {run.status} in {seconds:.1f} s, {run.symbols_processed:,} symbols, "
            f"{run.indicators:,} indicator values and {run.patterns:,} patterns of days"
        )
        yield f"  {self.heard.total():,} events of it were heard:"
        for channel in CHANNELS:
            if self.heard[channel]:
                yield f"  {self.heard[channel]:>6,}  {channel}"


def run_day(connection: Connection, client: Client, day: date, stop: Stop) -> DayRun | None:
    """Start a run of a day and listen until its end is published; None if stopped before. Raises RunAlive."""
    with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(*CHANNELS)
        pubsub.get_message(timeout=_HEARD_WITHIN_S)  # waits until Redis has confirmed the subscription
        run_id = start_run(
            connection,
            run_date=day,
            universe=EVERY_UNIVERSE,
            phases=ALL_PHASES,
            parameters=RunParameters(),
            requested_by="demo",
        )
        listener = _Listener(pubsub, run_id)
        deadline_s = time.monotonic() + _ENDS_WITHIN_S
        for _ in watch_run(connection, run_id, listener.listen):
            if stop.wait(0) or time.monotonic() > deadline_s:
                return None
        deadline_s = time.monotonic() + _HEARD_WITHIN_S
        while not listener.is_over and time.monotonic() < deadline_s and not stop.wait(0):
            listener.listen(0.2)
        return DayRun(run_named(connection, run_id), listener.heard)


class _Listener:
    """Counts the messages of one run. is_over: its end has come with each of its names."""

    def __init__(self, pubsub: Subscription, run_id: UUID) -> None:
        self._pubsub = pubsub
        self._run_id = str(run_id)
        self._left = set(RUN_COMPLETED)
        self.heard: Counter[str] = Counter()

    @property
    def is_over(self) -> bool:
        return not self._left

    def listen(self, seconds: float) -> None:
        """Listen for this number of seconds."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if (got := self._pubsub.get_message(timeout=left_s)) is not None:
                self._take(message_of(got["channel"].decode(), got["data"]).message, got["channel"].decode())

    def _take(self, message: dict[str, object], channel: str) -> None:
        payload = message.get("payload")
        if isinstance(payload, dict) and payload.get("run_id") == self._run_id:
            self.heard[channel] += 1
            self._left.discard(kind_of(message) or "")
