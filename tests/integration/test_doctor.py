"""What the doctor names, each on real servers; servers that are too old and clocks that are off by their words."""

import re
import secrets
from contextlib import contextmanager
from importlib.resources import files
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from tickstockpl.contracts.names import DEAD_LETTERS, DOOR_ASIDE
from tickstockpl.contracts.redis_rights import RIGHTS
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.redis import connect
from tickstockpl.db.schema.migrate import migrate, open_stream
from tickstockpl.db.schema.table_rights import TABLE_RIGHTS
from tickstockpl.ops.doctor.doctor import Clock, diagnose, judge_clocks
from tickstockpl.ops.doctor.postgres import judge_version
from tickstockpl.ops.doctor.redis import redis_version_of
from tickstockpl.ops.doctor.rights import check_rights


def found_on(servers, *, partitions=None, roles=tuple(RIGHTS)):
    return {finding.subject: finding for finding in diagnose(servers, partitions=partitions, roles=roles)}


# -- Redis ---------------------------------------------------------------------------------------------------------


@contextmanager
def redis_user(servers, rules):
    """Make a user of Redis; yield its URL."""
    name = f"user-{secrets.token_hex(4)}"
    with redis.Redis.from_url(servers.redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", name, "on", "nopass", *rules.split())
        try:
            url = urlsplit(servers.redis_url)
            yield url._replace(netloc=f"{name}@{url.hostname}:{url.port}").geturl()
        finally:
            admin.execute_command("ACL", "DELUSER", name)


def rights_found(url, *roles):
    with connect(url) as client:
        (finding,) = check_rights(client, roles)
    return finding


@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("role", list(RIGHTS))
def test_the_rules_of_a_role_give_all_that_it_needs(empty_servers, role, may_ask):
    rules = RIGHTS[role].acl_rules() + (" +acl|whoami +acl|dryrun" if may_ask else " -acl|dryrun")
    with redis_user(empty_servers, rules) as url:
        finding = rights_found(url, role)
    assert finding.level == "ok", finding
    assert ("in a discarded transaction" in finding.says) is not may_ask
    with redis.Redis.from_url(empty_servers.redis_url) as client:
        assert client.keys() == []


def test_a_role_may_not_do_what_another_one_needs(empty_servers):
    with redis_user(empty_servers, RIGHTS["producer"].acl_rules()) as url:
        finding = rights_found(url, "worker")
    assert finding.level == "FAIL"
    assert "XADD tickstock-results:{p0}" in finding.says


@pytest.mark.parametrize("asks", ["+acl|whoami +acl|dryrun", ""])
@pytest.mark.parametrize(
    ("role", "taken", "says", "rule"),
    [
        (
            "worker", "+xtrim",
            f"XTRIM tickstock-stream:{{p0}}; XTRIM tickstock-stream; XTRIM {DOOR_ASIDE}; XTRIM {DEAD_LETTERS}",
            "+xtrim",
        ),
        ("worker", "+xack", "XACK tickstock-stream:{p0}", "+xack"),
        (
            "worker", f"~{DEAD_LETTERS}",
            "XADD tickstock-dlq; XLEN tickstock-dlq; MEMORY USAGE tickstock-dlq; XTRIM tickstock-dlq", "~tickstock-dlq",
        ),
        ("bridge", "&tickstock:errors", "PUBLISH tickstock:errors", "&tickstock:errors"),
        ("producer", "&tickstock.ticks.*", "PSUBSCRIBE tickstock.ticks.*", "&tickstock.ticks.*"),
    ],
)  # fmt: skip
def test_a_missing_right_is_named_with_the_rule_that_gives_it(empty_servers, asks, role, taken, says, rule):
    rules = " ".join(given for given in RIGHTS[role].acl_rules().split() if given != taken)
    with redis_user(empty_servers, f"{rules} {asks}") as url:
        finding = rights_found(url, role)
    assert finding.level == "FAIL"
    assert finding.says.endswith(f"may not: {says}")
    assert finding.do.split(" ", 3)[3] == rule


@pytest.mark.parametrize("role", list(RIGHTS))
def test_a_key_of_each_partition_is_read_by_the_rights_of_a_role(migrated_servers, role):
    with redis_user(migrated_servers, RIGHTS[role].acl_rules()) as url:
        finding = found_on(Servers(url, migrated_servers.database_url), partitions=3, roles=[role])["Redis keys"]
    assert (finding.level, finding.says) == ("ok", "one of each of 3 partitions was read")


def test_a_redis_that_is_nearly_full_fails_as_it_does_in_the_status(migrated_servers):
    with redis.Redis.from_url(migrated_servers.redis_url) as admin:
        admin.setrange("filler", 20_000_000, "x")  # what connections hold makes no difference beside it
        admin.config_set("maxmemory", int(admin.info("memory")["used_memory"] * 1.05))
        try:
            finding = found_on(migrated_servers, roles=("operator",))["Redis memory"]
        finally:
            admin.config_set("maxmemory", 0)
    assert (finding.level, finding.do) == ("FAIL", "raise maxmemory, add workers")


def test_a_redis_without_aof_is_warned_of(migrated_servers):
    with redis.Redis.from_url(migrated_servers.redis_url) as client:
        client.config_set("appendonly", "no")
        try:
            finding = found_on(migrated_servers)["Redis persistence"]
        finally:
            client.config_set("appendonly", "yes")
    assert (finding.level, finding.do) == ("warn", "set `appendonly yes`")


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ({"redis_version": "6.0.16"}, "FAIL"),
        ({"redis_version": "6.2.0"}, "ok"),
        ({"redis_version": "7.0.15"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, "ok"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, "ok"),
    ],
)
def test_a_redis_that_is_too_old_is_judged_by_its_info(said, level):
    (finding,) = redis_version_of(said, "127.0.0.1:6379")
    assert finding.level == level
    assert (finding.do == "Redis 6.2 or Valkey 7.2, or later") is (level == "FAIL")


# -- PostgreSQL ----------------------------------------------------------------------------------------------------


@contextmanager
def role_of(servers, *, grants=()):
    """Make a role with some grants, each `PRIVILEGE ON WHAT`; yield the servers as it sees them."""
    role, password = f"limited_{secrets.token_hex(4)}", secrets.token_hex(16)
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        try:
            for grant in grants:
                admin.execute(f"GRANT {grant} TO {role}")
            url = urlsplit(servers.database_url)
            limited = url._replace(netloc=f"{role}:{password}@{url.hostname}:{url.port}").geturl()
            yield Servers(servers.redis_url, limited)
        finally:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def all_grants(servers):
    """Return what the doctor asks for on a database that has every table of ours."""
    with psycopg.connect(servers.database_url) as connection:
        there = [table for table in TABLE_RIGHTS if connection.execute("SELECT to_regclass(%s)", [table]).fetchone()[0]]
    return [f"{', '.join(TABLE_RIGHTS[table])} ON {table}" for table in there] + [
        "USAGE ON ALL SEQUENCES IN SCHEMA public"
    ]


def test_a_role_with_all_the_rights_misses_none(migrated_servers):
    with role_of(migrated_servers, grants=all_grants(migrated_servers)) as servers:
        assert found_on(servers)["PostgreSQL rights"].level == "ok"


def test_each_missing_right_is_named_with_the_grant_that_gives_it(empty_servers):
    """On a database with the application's own tables and sequences, whose names are its business."""
    with psycopg.connect(empty_servers.database_url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE event_numbers")
        connection.execute(
            """CREATE TABLE integration_events (
                   id integer PRIMARY KEY DEFAULT nextval('event_numbers'), flow_id uuid, "timestamp" timestamptz,
                   event_type text, source_system text, checkpoint text, channel text, symbol text, pattern_name text,
                   confidence numeric, user_count integer, details jsonb, latency_ms numeric)"""
        )
    with postgres.connect(empty_servers.database_url, name="test") as connection:
        migrate(connection)
    with role_of(empty_servers, grants=all_grants(empty_servers)) as servers:
        role = urlsplit(servers.database_url).username
        with psycopg.connect(empty_servers.database_url, autocommit=True) as admin:
            admin.execute(f"REVOKE INSERT ON integration_events FROM {role}")
            admin.execute(f"REVOKE UPDATE ON checkpoint FROM {role}")
            admin.execute(f"REVOKE USAGE ON SEQUENCE event_numbers FROM {role}")
            admin.execute("REVOKE EXECUTE ON FUNCTION lock_checkpoints FROM public")
        finding = found_on(servers)["PostgreSQL rights"]
        assert finding.level == "FAIL"
        assert finding.says == (
            "missing: UPDATE on checkpoint, INSERT on integration_events, USAGE on sequence event_numbers, "
            "EXECUTE on function lock_checkpoints(integer[],bigint[])"
        )
        with psycopg.connect(empty_servers.database_url, autocommit=True) as admin:
            admin.execute(finding.do)
        assert found_on(servers)["PostgreSQL rights"].level == "ok"


def test_the_rights_that_are_asked_for_are_enough_for_every_statement(migrated_servers):
    """EXPLAIN checks a statement's rights as its execution does."""
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as owner:
        owner.execute(
            """CREATE TABLE bar_detail (symbol varchar(20), "timestamp" timestamptz, vwap float8, trade_count integer,
                                        revision smallint, provenance text, PRIMARY KEY (symbol, "timestamp"))"""
        )
    denied = []
    with (
        role_of(migrated_servers, grants=all_grants(migrated_servers)) as servers,
        psycopg.connect(servers.database_url, autocommit=True) as connection,
    ):
        for name, statement in statements():
            if statement.startswith("CREATE TEMP"):
                connection.execute(statement)
            elif statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
                try:
                    connection.execute(f"EXPLAIN {statement}", AnyValue())
                except psycopg.errors.InsufficientPrivilege:
                    denied.append(name)
    # Of `migrate`, `definitions live` and the demo, which the tables' owner runs.
    owners = [
        "correct_indicator_references",
        "correct_pattern_references",
        "let_dojis_stand_anywhere",
        "note_migration",
        "run_indicators_live",
        "run_patterns_live",
    ]
    assert sorted(denied) == owners


class AnyValue(dict):
    """Values for a statement: NULL for each."""

    def __missing__(self, name):
        return None

    def __contains__(self, name):
        return True


def statements():
    """Return each statement of ours under its name, without its comments; those that make tables first."""
    found = []
    for file in files("tickstockpl.db").joinpath("sql/queries").iterdir():
        if file.name in ("repartition.sql", "timescale.sql"):
            continue  # the tables' owner runs the first; the other names what its extension brings
        _, *rest = re.split(r"^-- (\w+) --\n", file.read_text(), flags=re.MULTILINE)
        for name, body in zip(rest[::2], rest[1::2], strict=True):
            found.append((name, re.sub(r"^--.*\n", "", body, flags=re.MULTILINE).strip()))
    return sorted(found, key=lambda named: not named[1].startswith("CREATE TEMP"))


@pytest.mark.parametrize(
    ("number", "version", "in_recovery", "says"),
    [
        (130_022, "13.22", False, "is too old"),
        (140_000, "14.0", False, ""),
        (150_013, "15.13 (Debian 15.13-0+deb12u1)", False, ""),
        (180_006, "18.6", True, "is a standby"),
    ],
)
def test_a_postgresql_that_is_too_old_or_a_standby_is_judged_by_its_words(number, version, in_recovery, says):
    finding = judge_version(number, version, "app_readwrite", "db:5432/tickstock", in_recovery=in_recovery)
    assert (finding.level, finding.says.endswith(says)) == ("FAIL" if says else "ok", True)


# -- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redis_clock", "postgres_clock", "level"),
    [
        ((0.0, 0.0), (0.0, 0.0), "ok"),
        ((0.999, 0.0), (0.0, 0.0), "ok"),
        ((1.001, 0.0), (0.0, 0.0), "warn"),
        ((0.0, 0.0), (-1.001, 0.0), "warn"),
        ((0.6, 0.0), (-0.6, 0.0), "warn"),  # each near this host, and not near each other
        ((1.2, 0.3), (0.0, 0.0), "ok"),  # over a link so slow that it may be the link
        ((-899.0, 0.1), (0.0, 0.0), "warn"),
        ((-86_400.0, 0.1), (0.0, 0.0), "FAIL"),  # no live tick is accepted
        ((7_200.0, 0.1), (7_200.0, 0.0), "warn"),  # this host's clock is wrong
    ],
)
def test_clocks_more_than_a_second_apart_are_named(redis_clock, postgres_clock, level):
    finding = judge_clocks({"Redis": Clock(*redis_clock), "PostgreSQL": Clock(*postgres_clock)})
    assert finding.level == level
    assert ("run NTP on each host" in finding.do) is (level != "ok")


def test_the_servers_clocks_are_read(migrated_servers):
    assert found_on(migrated_servers)["clocks"].level == "ok"


def test_a_foreign_partition_count_is_named_whether_option_or_variable_asks_for_it(migrated_servers, tickstock):
    with postgres.connect(migrated_servers.database_url, name="test") as connection:
        open_stream(connection, 4)
    ran = tickstock("doctor", "--role", "worker", servers=migrated_servers, TICKSTOCK_PARTITIONS="8")
    assert ran.returncode == 1
    assert "FAIL  partitions             --partitions is 8, but this stream " in ran.stdout
    assert found_on(migrated_servers, partitions=4)["partitions"].level == "ok"
