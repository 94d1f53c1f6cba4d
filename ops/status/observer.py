"""Read the fleet's state for `tickstock status`, once or repeatedly, even while a server is away."""

import time
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from redis.exceptions import ResponseError

from ...contracts.errors import ServerAway, SetupError, first_line
from ...contracts.fleet.fleet_health import HealthFinding, health_of, is_healthy, judge
from ...contracts.fleet.fleet_look import Away, DefinitionFaults, FleetLook
from ...contracts.redis_rights import Role
from ...contracts.server import Server
from ...db.look.fleet_look import WINDOW_S, FleetReader
from ...db.postgres import Connection
from ...db.redis import AWAY, Client, can_pass
from ...db.schema.migrate import check_schema
from ..process.server_probe import away_servers
from ..wiring.redis_refusals import refusals_named
from ..wiring.servers import Place, open_postgres, open_redis_to_look

_RETRY_EVERY_S = 0.1


class Observation(NamedTuple):
    """The state of the fleet at one moment, with its findings. fleet: None while a server is away."""

    fleet: FleetLook | None
    findings: list[HealthFinding]

    @property
    def is_healthy(self) -> bool:
        """Tell whether no finding is an error."""
        return is_healthy(self.findings)

    def document(self) -> dict[str, Any]:
        """Return one object for JSON: the verdict, the stream, and the other parts."""
        look = self.fleet
        said: dict[str, Any] = {"at": look.at if look else datetime.now(UTC), "healthy": self.is_healthy}
        said |= {"status": health_of(look, self.findings), "findings": self.findings}
        if look:
            said |= {field.name: getattr(look.fleet, field.name) for field in fields(look.fleet)}
            others = (field.name for field in fields(look) if field.name not in ("at", "fleet"))
            said |= {name: getattr(look, name) for name in others}
        return said


class Observer:
    """Holds a connection to each server. Each reading checks first whether both answer.

    The first reading waits for them up to the place's connect_timeout_s, and at least for a second. seldom_s:
    as of a FleetReader; role: whose rights it has in Redis.
    """

    def __init__(
        self,
        where: Place,
        *,
        window_s: float = WINDOW_S,
        latest_flows: int = 0,
        seldom_s: float = 0.0,
        role: Role = "operator",
    ) -> None:
        self._where = where
        self._role: Role = role
        self._reader = FleetReader(_definitions, window_s=window_s, latest_flows=latest_flows, seldom_s=seldom_s)
        self._connection: Connection | None = None
        self._client: Client | None = None

    def observe(self) -> Observation:
        """Read both servers once. Raises SetupError if the schema does not fit, or a right is missing."""
        wait_s = self._where.connect_timeout_s
        self._where = self._where._replace(connect_timeout_s=0)  # later ones try only once
        if away := _away_after(self._where, wait_s):
            self.close()
            return Observation(None, judge(None, [Away(server, why) for server, why in away.items()]))
        try:
            with refusals_named(self._where.servers.redis_url, self._role):
                fleet = self._look()
        except psycopg.errors.InsufficientPrivilege as e:
            why = f"{first_line(e)}: `tickstock doctor --role {self._role}` names what is missing"
            raise SetupError(why) from e
        except psycopg.DataError as e:
            raise SetupError(f"a table holds a value that cannot be shown: {first_line(e)}: correct it") from e
        except (psycopg.OperationalError, ServerAway, ResponseError, *AWAY) as e:
            if isinstance(e, ResponseError) and not can_pass(e):
                raise
            # An unopened connection is the one that failed; PostgreSQL is opened first.
            is_postgres = isinstance(e, psycopg.Error) or self._connection is None
            self.close()
            return Observation(None, judge(None, [Away("postgresql" if is_postgres else "redis", first_line(e))]))
        return Observation(fleet, judge(fleet))

    def _look(self) -> FleetLook:
        if self._connection is None:
            self._connection = open_postgres(self._where, name="tickstock-status")
            check_schema(self._connection)
        if self._client is None:
            self._client = open_redis_to_look(self._where)
        look = self._reader.read(self._connection, self._client)
        return self._reader.with_flow_log(look, self._connection, self._client)

    def close(self) -> None:
        """Close both connections."""
        if self._connection is not None:
            self._connection.close()
        if self._client is not None:
            self._client.close()
        self._connection = self._client = None


def _away_after(where: Place, wait_s: float) -> dict[Server, str]:
    """Return the servers that do not answer, after waiting for wait_s."""
    deadline_s = time.monotonic() + wait_s
    while True:
        away = away_servers(where.servers)
        if not away or time.monotonic() >= deadline_s:
            return away
        time.sleep(_RETRY_EVERY_S)


def embedded_away(error: SetupError) -> Observation:
    """Return the findings if an embedded server does not start."""
    server: Server = "redis" if "valkey" in str(error) else "postgresql"
    return Observation(None, judge(None, [Away(server, str(error))]))


def _definitions(connection: Connection) -> DefinitionFaults:
    # Imported here, because it loads TA-Lib: only when there is a stream.
    from ...workers.detect.definitions import faults_of, read_definitions  # noqa: PLC0415

    return faults_of(read_definitions(connection))
