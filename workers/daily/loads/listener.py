"""Listens to the channels of jobs, and stores each message as a row at once, because pub-sub does not keep messages.

Any number of processes listen, and each stores the message; they write one row, because the job's id is unique. Only
the first process publishes that a message is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

import structlog
from redis.exceptions import RedisError

from ....contracts.daily.job import is_probe
from ....contracts.errors import UsageError
from ....contracts.messages.system_messages import error
from ....contracts.stop import Stop
from ....db.postgres import Connection, Database
from ....db.redis import Client, masters
from ....db.tables.jobs import is_first_to_refuse
from ....db.tables.run_results import add_messages
from ....db.world import World
from ..patient_loop import PatientLoop

log = structlog.get_logger()

_WAIT_S = 0.2
_COMPONENT = "job_listener"


Take = Callable[[Connection, bytes], None]  # stores a message as a row; raises UsageError to refuse it


class _Heard(NamedTuple):
    channel: str
    body: bytes


class JobsListener(PatientLoop):
    """One subscription. Messages that arrive while PostgreSQL is away wait in the connection.

    takes: for each channel, the function that stores its messages.
    """

    def __init__(
        self, *, database: Database, client: Client, takes: Mapping[str, Take], stop: Stop, world: World
    ) -> None:
        super().__init__(database, stop=stop, world=world)
        self._client = client
        self._takes = takes
        self._subscription: Any = None
        self._held: _Heard | None = None  # its row may not be committed yet

    def turn(self) -> None:
        """Wait up to 0.2 s for a message, and store it as a row."""
        self._held = self._held or self._next()
        if self._held is not None:
            self._take(self._held)
            self._held = None

    def begin_anew(self) -> None:
        """Do nothing: no state depends on the connection to the database."""

    def leave(self) -> None:
        """End the subscription."""
        self._close()

    def _next(self) -> _Heard | None:
        try:
            if self._subscription is None:
                self._subscription = masters(self._client)[0].pubsub(ignore_subscribe_messages=True)
                self._subscription.subscribe(*self._takes)
            message = self._subscription.get_message(timeout=_WAIT_S)
        except (RedisError, OSError):
            self._close()
            raise
        return None if message is None else _Heard(message["channel"].decode(), message["data"])

    def _close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _take(self, heard: _Heard) -> None:
        if is_probe(heard.body):
            return
        try:
            self._takes[heard.channel](self.database.connection, heard.body)
        except UsageError as e:
            self._refuse(heard, str(e))

    def _refuse(self, heard: _Heard, why: str) -> None:
        """Publish that a message is refused, unless another process already has."""
        now_s = self._world.unix_ns() / 1e9
        said = error(
            now_s=now_s,
            error_id=str(uuid5(NAMESPACE_URL, f"tickstockpl:job|{heard.channel}|{why}|{now_s:.3f}")),
            severity="error",
            category="validation",
            component=_COMPONENT,
            error_code="JOB_REFUSED",
            text=why,
            context={"channel": heard.channel},
        )
        with self.database.connection.transaction():
            if not is_first_to_refuse(self.database.connection, heard.channel, heard.body):
                return
            log.warning("job refused", channel=heard.channel, why=why)
            add_messages(self.database.connection, [said])
