"""What is missing is installed the way that we were: from a clone by its path, else by the name."""

import sys
from pathlib import Path

import pytest
from tickstockpl.ops.process import extras

EDITABLE = '{"url": "file:///srv/tick%20stock", "dir_info": {"editable": true}}'


@pytest.mark.parametrize(
    ("noted", "asked"),
    [
        (EDITABLE, "-e '/srv/tick stock[chart]'"),
        ('{"url": "file:///srv/clone", "dir_info": {}}', "'/srv/clone[chart]'"),
        (
            '{"url": "file:///tmp/tickstockpl-1-py3-none-any.whl", "archive_info": {}}',
            "'tickstockpl[chart] @ file:///tmp/tickstockpl-1-py3-none-any.whl'",
        ),
        (None, "'tickstockpl[chart]'"),
        ("not JSON", "'tickstockpl[chart]'"),
    ],
)
def test_an_extra_is_added_to_the_installation_that_there_is(monkeypatch, noted, asked):
    class Installed:
        def read_text(self, _):
            return noted

    monkeypatch.setattr(extras, "distribution", lambda _: Installed())
    monkeypatch.setattr(sys, "executable", "/opt/venv/bin/python")
    assert extras.how_to_install("chart") == f"/opt/venv/bin/python -m pip install {asked}"


def test_in_the_clone_itself_the_command_is_short(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", f"{Path.cwd()}/.venv/bin/python")
    noted = f'{{"url": "{tmp_path.as_uri()}", "dir_info": {{"editable": true}}}}'
    monkeypatch.setattr(extras, "distribution", lambda _: type("", (), {"read_text": lambda *_: noted})())
    assert extras.how_to_install("otel") == ".venv/bin/python -m pip install -e '.[otel]'"
