"""Redis and TimescaleDB as containers (testcontainers), of the images that compose.yaml names."""

from contextlib import contextmanager, suppress
from secrets import token_hex

import psycopg
import redis
from compose_files import SERVICES
from testcontainers.core.container import DockerContainer
from tickstockpl.contracts.settings import Servers

_ANY_PORT = ("127.0.0.1", None)  # of this host alone
_NOT_KEPT = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300"]


@contextmanager
def container_servers(wait_for):
    """Start both; yield where they are, once they answer. They go with the end, and with the end of this process."""
    password = token_hex(16)
    redis_image, database = SERVICES["redis"]["image"], SERVICES["timescaledb"]
    keeping = ["redis-server", "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
    store = DockerContainer(redis_image, command=keeping)
    store.ports = {"6379/tcp": _ANY_PORT}
    truth = DockerContainer(database["image"], command=[*database["command"], *_NOT_KEPT])
    truth.ports = {"5432/tcp": _ANY_PORT}
    for name in ("POSTGRES_INITDB_ARGS", "NO_TS_TUNE", "TIMESCALEDB_TELEMETRY"):
        truth.with_env(name, database["environment"][name])
    truth.with_env("POSTGRES_PASSWORD", password).with_kwargs(shm_size=database["shm_size"])
    with store, truth:
        redis_port, database_port = store.get_exposed_port(6379), truth.get_exposed_port(5432)
        servers = Servers(
            f"redis://127.0.0.1:{redis_port}/0", f"postgresql://postgres:{password}@127.0.0.1:{database_port}/postgres"
        )
        wait_for(lambda: _answer(servers), 300)
        yield servers


def _answer(servers):
    with suppress(redis.exceptions.ConnectionError, psycopg.OperationalError):
        redis.Redis.from_url(servers.redis_url).ping()
        psycopg.connect(servers.database_url).close()
        return True
    return False
