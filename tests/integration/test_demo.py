"""The demo shows patterns whatever the load, says the speed that it reached, and fits a terminal of 80 columns."""

import os
import pty
import re
import socket
import subprocess
import sys
import threading
import webbrowser

import psycopg
import pytest
from tickstockpl.db.queries import query
from tickstockpl.ops.demo.demo import open_page, says_speed

COLOUR, MOVE = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def read_all(descriptor, into):
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:  # the last process has closed it
            return
        if not data:
            return
        into.append(data)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The file into which the demo's browser writes what it is asked for."""
    return tmp_path_factory.mktemp("browser") / "opened"


@pytest.fixture(scope="module")
def shown(make_reachable_folder, opened):
    """The lines that a short demo drew in a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    said = []
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TICKSTOCK", "REDIS", "DATA"))}
    browser = f"sh -c 'echo $0 >> {opened}' %s"
    command = [sys.executable, "-m", "tickstockpl.ops", "demo", "--open", "--seconds", "8", "--rate", "100"]
    with subprocess.Popen(
        [*command, "--data-dir", make_reachable_folder()],
        env=clean | {"COLUMNS": "80", "LINES": "40", "TERM": "xterm", "BROWSER": browser}, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        reader = threading.Thread(target=read_all, args=(ours, said))
        reader.start()
        assert process.wait(300) == 0, b"".join(said)
        reader.join(60)
    os.close(ours)
    return MOVE.sub("\n", COLOUR.sub("", b"".join(said).decode(errors="replace"))).splitlines()


SET_BY_PEOPLE = {
    "always_open", "cache_entries", "indicator_definitions", "market_closure", "pattern_definitions", "schedule",
    "schema_migration",
}  # fmt: skip


def test_a_second_demo_begins_with_empty_tables(migrated_servers):
    """Numbers that go on behind an empty outbox would be told of as lost results."""
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(migrated_servers.database_url, autocommit=True) as connection:
        connection.execute("UPDATE run_result SET number = 7")
        connection.execute(query("empty_tables"))
        assert connection.execute("SELECT number FROM run_result").fetchall() == [(0,)]
        every = {name for (name,) in connection.execute(tables)}
    assert every - SET_BY_PEOPLE == set(re.findall(r"[a-z_0-9]+", query("empty_tables").as_string())) & every


def test_a_demo_of_seconds_has_patterns(shown):
    (found,) = [re.search(r"([\d,]+) bars, ([\d,]+) patterns on them", line) for line in shown if "patterns on" in line]
    assert int(found[2].replace(",", "")) >= 10
    assert any("Doji, confidence" in line for line in shown)


def test_the_tables_of_a_demo_fit_80_columns(shown):
    drawn = [line for line in shown if line.strip() and line.strip()[0] in "┃│┏└┡╇━"]
    assert len(drawn) > 20
    assert max(map(len, drawn)) <= 80
    assert any(line.startswith("│ applied") or "applied" in line for line in shown)


def test_a_demo_ends_with_a_daily_run_whose_events_are_heard(shown):
    (said,) = [line for line in shown if line.startswith("daily run of ")]
    assert re.match(r"daily run of 2025-06-02: completed in [\d.]+ s, 70 symbols, 0 indicator values and", said)
    heard = dict(line.split()[::-1] for line in shown if re.match(r" +\d+  tickstock:", line))
    assert int(heard["tickstock:processing:status"]) >= 4  # its start and its end, each under two names; progress
    assert {f"tickstock:{phase}:completed" for phase in ("import", "cache", "indicators", "patterns")} <= heard.keys()


def test_a_demo_says_where_its_page_is_and_opens_it(shown, opened):
    (said,) = [line for line in shown if line.startswith("the page, while the demo runs")]
    (url,) = re.findall(r"http://127\.0\.0\.1:\d+/$", said)
    assert opened.read_text() == f"{url}\n"


def test_without_a_browser_a_demo_says_so(monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda _: False)  # as on a machine without one
    with socket.create_server(("127.0.0.1", 0)) as api:
        open_page(api.getsockname()[1])
    assert capsys.readouterr().out == "this machine has no browser that could open the page\n"


def test_a_demo_says_how_fast_its_market_ran(shown):
    (said,) = [line for line in shown if line.startswith("the market ran at ")]
    assert re.match(r"the market ran at (60x$|\d+x of 60x: this machine is busy)", said)


@pytest.mark.parametrize(
    ("speed", "says"),
    [
        (59.2, "the market ran at 60x"),
        (24.4, "the market ran at 24x of 60x: this machine is busy, or slow; a lower --rate helps"),
        (0.0, "the market's speed is unknown: the demo was too short"),
    ],
)
def test_a_speed_that_was_not_reached_is_said(speed, says):
    assert says_speed(speed) == says
