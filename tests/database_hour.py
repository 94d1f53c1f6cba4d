"""A database whose clock shows another time than its machine."""

from urllib.parse import urlsplit


def set_hour(connection, servers, at):
    """Let a database's clock show `at` now, and run on from there, for connections that are opened afterwards.

    The defaults of columns keep the machine's time.
    """
    connection.execute("CREATE SCHEMA IF NOT EXISTS hour")
    for name in ("clock_timestamp", "now"):
        connection.execute(
            f"CREATE OR REPLACE FUNCTION hour.{name}() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
            f" $$ SELECT pg_catalog.{name}() + interval '{_ahead_s(connection, at)} s' $$"
        )
    name = urlsplit(servers.database_url).path.lstrip("/")
    # A schema that is named before pg_catalog is searched before it.
    connection.execute(f"ALTER DATABASE {name} SET search_path = hour, pg_catalog, public")


def _ahead_s(connection, at):
    (now,) = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    return (at - now).total_seconds()
