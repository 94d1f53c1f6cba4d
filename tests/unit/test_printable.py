import io
import json
import sys

import pytest
import structlog
from tickstockpl.contracts.printable import printable, printable_lines
from tickstockpl.contracts.spellings.json_text import NotJson, read_json
from tickstockpl.ops.process.console import Escaped, escaping, make_console, plain
from tickstockpl.ops.process.logs import set_up_logs


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("w\x1b[31mred\x07", "w\\x1b[31mred\\x07"),  # colours and the bell
        ("\x9b31m\x85", "\\u009b31m\\u0085"),  # C1: a terminal obeys it as ESC [
        ("a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f"),  # what turns the direction
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),  # no width
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\x7f\ud800", "\\u007f\\ud800"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("Ä BRK.B [red] \\ 日本", "Ä BRK.B [red] \\ 日本"),
    ],
)
def test_what_a_terminal_obeys_is_written_as_an_escape(text, shown):
    assert printable(text) == shown


def test_lines_and_tabs_stay():
    assert printable_lines("a\tb\n\x1b[2J\r") == "a\tb\n\\x1b[2J\\x0d"


def test_json_with_escapes_means_what_it_meant():
    assert read_json(printable('{"a":"\x9b\u202e\U000e0041"}')) == {"a": "\x9b\u202e\U000e0041"}


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 65 + b"]" * 65, b"\xff", b'"\xff"', b"NaN", b"", '"\ud800"']
)
def test_what_is_no_json_for_us_is_one_error(body):
    with pytest.raises(NotJson):
        read_json(body)


def test_json_of_any_fair_depth_is_read():
    assert read_json(b"[" * 60 + b"]" * 60) == json.loads("[" * 60 + "]" * 60)


def test_what_is_printed_is_escaped(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with escaping():
        sys.stdout.write("w\x1b[31m\n")
    assert out.getvalue() == "w\\x1b[31m\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("draw", ["print", "live"])
def test_colours_of_ours_reach_a_terminal_and_those_of_others_do_not(monkeypatch, draw):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with escaping():
        console = make_console(highlight=False, width=60)
        if draw == "print":
            console.print("[red]ours[/red] theirs\x1b[32m\u202e")
        else:
            console.print(Escaped("[red]ours[/red] theirs\x1b[32m\u202e"))
    assert "\x1b[31mours" in terminal.getvalue()
    assert "theirs\\x1b[32m\\u202e" in terminal.getvalue()


def test_a_console_writes_to_a_file_that_is_named():
    file = io.StringIO()
    make_console(file, width=60).print("a\x1b[31mb")
    assert file.getvalue() == "a\\x1b[31mb\n"
    assert plain(file) is file


def test_log_lines_for_people_are_escaped(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    set_up_logs()
    structlog.get_logger().info("partition taken", consumer="w\x1b[31mred\x07", count=3)
    assert "\x1b" not in out.getvalue()
    assert "w\\x1b[31mred\\x07" in out.getvalue()
