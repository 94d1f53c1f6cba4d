"""The servers that tests run against: one embedded pair for the whole session, or those that the environment names.

TICKSTOCK_TEST_SERVERS=containers: one pair of containers, of the images of compose.yaml.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import processes
import psycopg
import pytest
import redis
import structlog
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.schema.migrate import migrate
from tickstockpl.ops.embedded.servers import embedded_servers
from waits import looks

ROOM_BYTES = 4 << 30  # for the servers of a few test processes


@pytest.fixture(scope="session", autouse=True)
def spool_folder(tmp_path_factory):
    """Keep the spools of live producers out of the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TICKSTOCK_SPOOL_DIR", str(tmp_path_factory.mktemp("spool")))
        yield


def pytest_configure(config):
    """Under `nohup`, let what tests start be ended by SIGHUP as elsewhere, and still outlive the terminal ourselves.

    What ignores a signal hands that on to every process that it starts; what handles it does not. A process that only
    starts those that run the tests (-n) leaves it to them.
    """
    starts_others = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if not starts_others and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items):
    """Let tests that may take longest begin first: then two processes end at about the same time."""
    marks = {item: item.get_closest_marker("timeout") for item in items}
    items.sort(key=lambda item: -marks[item].args[0] if marks[item] else 0)


def pytest_terminal_summary(terminalreporter):
    """Show what long tests have measured, what the fuzzers tried, and why a test was run once more."""
    show_figures(terminalreporter)
    show_fuzzers(terminalreporter)
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"failed at first: {report.nodeid} ({report.when})")
        terminalreporter.write_line(report.longreprtext)
        for title, text in report.sections:
            terminalreporter.write_line(f"-- {title}\n{text}")


def show_fuzzers(terminalreporter):
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    found = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == "fuzz"]
    if not found:
        return
    terminalreporter.section("fuzzers")
    for line, outcomes in sorted(map(tuple, found), key=lambda target: target[0]):
        terminalreporter.write_line(line)
        if terminalreporter.config.get_verbosity() >= 0:
            for outcome, count in outcomes:
                terminalreporter.write_line(f"    {count:>9,}  {outcome}")


def show_figures(terminalreporter):
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    for report in reports:
        lines = [value for name, value in getattr(report, "user_properties", ()) if name == "figure"]
        if lines and report.when == "call":
            terminalreporter.section(f"figures of {report.nodeid}")
            for line in lines:
                terminalreporter.write_line(line)


@pytest.fixture
def say_progress(request, pytestconfig):
    """Give a function that tells at once how far a long test is; what else is printed is kept for a failure."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text):
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {request.node.name}: {text}\n")
            sys.stderr.flush()

    return say


@pytest.fixture
def figure(record_property):
    """Give a function that puts a line into the summary at the end of a run."""
    return lambda line: record_property("figure", line)


@pytest.fixture(autouse=True)
def logs_as_they_were():
    """Undo what a command that ran in this process set up: its log lines went to that command's own output."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers():
    redis_url = os.environ.get("TICKSTOCK_TEST_REDIS_URL")
    database_url = os.environ.get("TICKSTOCK_TEST_DATABASE_URL")
    if redis_url and database_url:
        yield Servers(redis_url, database_url)
        return
    if redis_url or database_url:
        raise pytest.UsageError("set both TICKSTOCK_TEST_REDIS_URL and TICKSTOCK_TEST_DATABASE_URL, or neither")
    if os.environ.get("TICKSTOCK_TEST_SERVERS") == "containers":
        from container_servers import container_servers  # noqa: PLC0415  # testcontainers is an extra

        with container_servers(wait_for_condition) as started:
            yield started
        return
    with own_servers() as (_, started):
        yield started


@pytest.fixture
def empty_servers(servers):
    """Give a test a database of its own, dropped afterwards, and Redis without a key."""
    with own_database(servers) as database_url:
        yield Servers(emptied_redis(servers), database_url)


@pytest.fixture(scope="session")
def migrated_template(servers):
    """Give the name of a migrated database: to copy it is quicker than to migrate for each test."""
    with own_database(servers) as url:
        with postgres.connect(url, name="test") as connection:
            migrate(connection)
            # A test that runs at 16:10 in New York must not meet a run that it did not start.
            connection.execute("UPDATE schedule SET enabled = false")
        yield as_template(servers, url)


@pytest.fixture
def migrated_servers(servers, migrated_template):
    """Give a test a migrated database of its own without a stream, dropped afterwards, and Redis without a key."""
    with own_database(servers, template=migrated_template) as database_url:
        yield Servers(emptied_redis(servers), database_url)


@pytest.fixture(scope="module")
def module_servers(servers, migrated_template):
    """Give the tests of a module one migrated database together, and Redis without a key."""
    with own_database(servers, template=migrated_template) as database_url:
        yield Servers(emptied_redis(servers), database_url)


@pytest.fixture(scope="session")
def tickstock():
    """Give a function that runs `python -m tickstockpl.ops ARGUMENTS` on some servers; it returns what the run said."""
    return run_tickstock


@contextmanager
def own_servers():
    """Start embedded servers in a folder of their own; yield the folder and where they are."""
    folder = reachable_folder()
    with embedded_servers(folder, log=lambda _: None) as started:
        yield folder, started
    shutil.rmtree(folder)


@contextmanager
def own_database(servers, *, template="template0"):
    """Make a database under a new name; yield its URL, and drop it.

    template: one that nobody connects to; TimescaleDB looks into template1 now and then.
    """
    name = f"test_{uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield urlsplit(servers.database_url)._replace(path=f"/{name}").geturl()
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def as_template(servers, url):
    """Let nobody connect to a database any more, so that it can be copied at any time; return its name.

    TimescaleDB's scheduler would: it connects to each database that has the extension, and stays.
    """
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", [name])
    return name


def emptied_redis(servers):
    """Leave no key in Redis; return the URL of its database 0."""
    url = urlsplit(servers.redis_url)._replace(path="/0").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


def run_tickstock(*arguments, servers=None, within_s=120, **environment):
    """Run a command of ours to its end, on some servers or with none set; output and exit code are its caller's."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "DATABASE", "TICKSTOCK"))
    }
    kept = ("TICKSTOCK_SPOOL_DIR", "TICKSTOCK_REDIS_SERVER", "TICKSTOCK_POSTGRES_BIN")
    clean |= {name: os.environ[name] for name in kept if name in os.environ}
    if servers:
        clean |= {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
    return processes.run(arguments, env=clean | environment, within_s=within_s)


@pytest.fixture(scope="session")
def wait_for():
    """Give a function that waits for a condition and returns its value."""
    return wait_for_condition


def wait_for_condition(condition, within_s=60):
    """Wait until a condition holds, for a minute at least: where the condition comes, a long deadline costs nothing."""
    within_s = max(within_s, 60)
    for _ in looks(within_s):
        if result := condition():
            return result
    raise AssertionError(f"waited {within_s} s in vain")


@pytest.fixture(scope="session")
def make_reachable_folder():
    """Give a function that makes a data folder which PostgreSQL's account can reach."""
    return reachable_folder


def reachable_folder():
    """Make a data folder, in memory where there is room: a database for each test is some hundred files.

    Not below tmp_path, because root's is closed to PostgreSQL's account.
    """
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    folder = Path(tempfile.mkdtemp(prefix="tickstock-test-", dir=memory if has_room else None))
    folder.chmod(0o711)
    return folder
