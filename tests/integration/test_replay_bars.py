"""What a replay shows in a terminal: three bars that stay until the work ends, and whole log lines above them."""

import io
import os
import pty
import re
import subprocess
import sys
import threading

import structlog
from conftest import own_servers
from rich.console import Console
from tickstockpl.ops.cli.tickstock_command import tickstock
from tickstockpl.ops.process import progress
from tickstockpl.producer.produce import Progress

COLOUR, MOVE = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def plain(text):
    return MOVE.sub("\n", COLOUR.sub("", text))


class Recording:
    bytes_total = 1000
    bytes_read = 0


def read_all(descriptor, into):
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:  # the last process has closed it
            return
        if not data:
            return
        into.append(data)


def test_a_replay_in_a_terminal_shows_each_part_of_its_work(tmp_path):
    assert sample(tmp_path / "day.csv") == 0
    with own_servers() as (folder, _):
        ours, theirs = pty.openpty()
        said = []
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TICKSTOCK")}
        command = [sys.executable, "-m", "tickstockpl.ops", "replay", str(tmp_path / "day.csv"), "--data-dir", folder]
        with subprocess.Popen(
            command, env=environment | {"COLUMNS": "100", "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            reader = threading.Thread(target=read_all, args=(ours, said))
            reader.start()
            assert process.wait(240) == 0
            reader.join(60)
        os.close(ours)
    text = plain(b"".join(said).decode(errors="replace"))
    for part in ("sending", "committing", "detecting"):
        assert part in text
    logged = [line for line in text.splitlines() if "[info" in line]
    assert any("all ticks are sent: waiting until the workers have committed them" in line for line in logged)
    assert not [line for line in logged if "━" in line]
    assert "6,000 ticks in" in text


def sample(file):
    try:
        tickstock.main(["sample", str(file), "--seconds", "120", "--rate", "50"], standalone_mode=False)
    except SystemExit as e:
        return e.code
    return 0


def terminal(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=90)
    monkeypatch.setattr(progress, "make_console", lambda **_: console)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return console.file


def test_lines_that_come_in_pieces_are_printed_whole_above_the_bars(monkeypatch):
    screen = terminal(monkeypatch)
    with progress.show_progress(Recording(), detecting=True) as shown:
        shown.lines.write("first ha")
        shown.lines.write("lf\nsecond\nunfinished")
        structlog.get_logger().warning("third", why="x")
    text = plain(screen.getvalue()).splitlines()
    assert [line.strip() for line in text if line.strip() in ("first half", "second")] == ["first half", "second"]
    assert any("third" in line and "━" not in line for line in text)


def test_committing_is_not_done_while_ticks_wait_though_all_is_sent(monkeypatch):
    screen = terminal(monkeypatch)
    recording = Recording()
    recording.bytes_read = 1000
    with progress.show_progress(recording, detecting=True) as shown:
        shown.on_progress(Progress(ticks=400, uncommitted=300))
        shown.on_undetected(40)
        shown.on_undetected(10)
    last = plain(screen.getvalue()).splitlines()
    assert [line for line in last if line.startswith("sending") and "100%" in line]
    assert [line for line in last if line.startswith("committing") and " 25%" in line]
    assert [line for line in last if line.startswith("detecting") and " 75%" in line and "10 bars wait" in line]
