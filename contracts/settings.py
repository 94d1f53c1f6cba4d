"""The addresses of the servers: frozen `Servers`, read from a mapping (os.environ in `ops/wiring/servers.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from .errors import UsageError

_REDIS_VARIABLES = ("REDIS_URL", "REDIS_HOST")
_DATABASE_VARIABLES = ("DATABASE_URI", "DATABASE_URL", "TICKSTOCK_DB_HOST")


@dataclass(frozen=True, slots=True)
class Servers:
    """The two servers' addresses. They hold passwords: never print or log them; show `redacted` instead."""

    redis_url: str = field(repr=False)
    database_url: str = field(repr=False)


def servers_from(environ: Mapping[str, str]) -> Servers | None:
    """Read both addresses in any of their spellings; None if neither is given (then the embedded servers are used).

    Raises UsageError if only one is given: this is surely a mistake.
    """
    # A value read from a file may end with a line break; no address or password does.
    environ = {name: value.rstrip("\r\n") for name, value in environ.items()}
    redis_named = next((name for name in _REDIS_VARIABLES if environ.get(name)), None)
    database_named = next((name for name in _DATABASE_VARIABLES if environ.get(name)), None)
    if redis_named is None and database_named is None:
        return None
    if redis_named is None:
        raise UsageError(f"{database_named} is set but no Redis: set REDIS_URL (or REDIS_HOST), or unset both")
    if database_named is None:
        raise UsageError(
            f"{redis_named} is set but no database: set DATABASE_URL (or TICKSTOCK_DB_HOST), or unset both"
        )
    return Servers(redis_url_from(environ), _database_url(environ))


def redis_url_from(environ: Mapping[str, str]) -> str:
    """Return Redis's address, from REDIS_URL, or from REDIS_HOST and its other variables. One of the two is set."""
    if url := environ.get("REDIS_URL"):
        return url
    user, password = environ.get("REDIS_USER", ""), environ.get("REDIS_PASSWORD", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    port, db = _whole(environ, "REDIS_PORT", 6379), _whole(environ, "REDIS_DB", 0)
    return f"redis://{login}{environ['REDIS_HOST']}:{port}/{db}"


def _database_url(environ: Mapping[str, str]) -> str:
    for name in ("DATABASE_URI", "DATABASE_URL"):
        if url := environ.get(name):
            return without_driver(url)
    user = quote(environ.get("TICKSTOCK_DB_USER", "app_readwrite"), safe="")
    password = environ.get("TICKSTOCK_DB_PASSWORD", "")
    login = f"{user}:{quote(password, safe='')}" if password else user
    port = _whole(environ, "TICKSTOCK_DB_PORT", 5432)
    return f"postgresql://{login}@{environ['TICKSTOCK_DB_HOST']}:{port}/{environ.get('TICKSTOCK_DB_NAME', 'tickstock')}"


def without_driver(url: str) -> str:
    """Return a database URL without SQLAlchemy's driver (postgresql+psycopg2://), as libpq needs it."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.partition('+')[0]}{separator}{rest}" if separator else url


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(environ.get(name) or default)
    except ValueError as e:
        raise UsageError(f"{name} is {environ[name]!r}: a whole number is needed") from e
