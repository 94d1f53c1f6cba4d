"""Looks at the fleet for `tickstock status`, once or again and again, also while a server is away."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from redis.exceptions import ResponseError

from ..contracts.errors import ServerAway, SetupError, TickStockError, first_line
from ..db.migrate import check_schema
from ..db.postgres import Connection
from ..db.redis import AWAY, Client, can_pass
from .monitor import Monitor, Report
from .redis_refusals import refusals_named
from .verdict import HealthFinding, findings_of, is_healthy, server_away
from .wiring import Place, open_postgres, open_redis_to_look


class Look(NamedTuple):
    """What was seen at one moment. report: None while a server is away."""

    report: Report | None
    findings: list[HealthFinding]

    @property
    def is_healthy(self) -> bool:
        """Tell whether no finding is an error."""
        return is_healthy(self.findings)

    def document(self) -> dict[str, Any]:
        """Return one object for JSON: the verdict, the fleet, and the rest of the report beside it."""
        at = self.report.at if self.report else datetime.now(UTC)
        said: dict[str, Any] = {"at": at, "healthy": self.is_healthy, "findings": self.findings}
        if self.report:
            fleet = self.report.fleet
            said |= {field.name: getattr(fleet, field.name) for field in fields(fleet)}
            others = (field.name for field in fields(self.report) if field.name not in ("at", "fleet"))
            said |= {name: getattr(self.report, name) for name in others}
        return said


class Observer:
    """Holds a connection to each server. The first look waits for them, a later one finds out whether they are back."""

    def __init__(self, where: Place, monitor: Monitor) -> None:
        self._where = where
        self._monitor = monitor
        self._connection: Connection | None = None
        self._client: Client | None = None

    def look(self) -> Look:
        """Look once. Raises SetupError where the schema does not fit, or a right is missing."""
        try:
            with refusals_named(self._where.servers.redis_url, "operator"):
                report = self._look()
        except psycopg.errors.InsufficientPrivilege as e:
            why = f"{first_line(e)}: `tickstock doctor --role operator` names what is missing"
            raise SetupError(why) from e
        except psycopg.DataError as e:
            raise SetupError(f"a table holds a value that cannot be shown: {first_line(e)}: put it right") from e
        except (psycopg.OperationalError, ServerAway, ResponseError, *AWAY) as e:
            if isinstance(e, ResponseError) and not can_pass(e):
                raise
            # Whoever has no connection yet was being opened; PostgreSQL is first.
            is_postgres = isinstance(e, psycopg.Error) or self._connection is None
            self.close()
            away = [server_away("postgresql" if is_postgres else "redis", first_line(e))]
            return Look(None, [*away, *(self._redis_too() if is_postgres else ())])
        return Look(report, findings_of(report))

    def _redis_too(self) -> Iterator[HealthFinding]:
        """Ask Redis where PostgreSQL is away: a person then starts both at once."""
        try:
            with closing(open_redis_to_look(self._where)):
                return
        except (ServerAway, *AWAY) as e:
            yield server_away("redis", first_line(e))
        except TickStockError:
            return  # it answers; what it says against us is told once PostgreSQL is back

    def _look(self) -> Report:
        where = self._where
        self._where = where._replace(connect_timeout_s=0)  # from now on, each look tries once
        if self._connection is None:
            self._connection = open_postgres(where, name="tickstock-status")
            check_schema(self._connection)
        if self._client is None:
            self._client = open_redis_to_look(where)
        return self._monitor.look(self._connection, self._client)

    def close(self) -> None:
        """Close both connections."""
        if self._connection is not None:
            self._connection.close()
        if self._client is not None:
            self._client.close()
        self._connection = self._client = None
