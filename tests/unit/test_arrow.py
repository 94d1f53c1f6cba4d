"""An image of a live fleet has no pyarrow: its processes do not miss it, and who needs it is told what to do."""

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['pyarrow'] = None; "


EACH_COMMAND = """
import importlib, pkgutil
from tickstockpl.ops import cli
for module in pkgutil.walk_packages(cli.__path__, f"{cli.__name__}."):
    importlib.import_module(module.name)
"""


def test_each_program_and_command_starts_without_it():
    ran = subprocess.run([sys.executable, "-c", WITHOUT + EACH_COMMAND], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


REPLAY = "from tickstockpl.producer.replay import ReplaySource; ReplaySource(['day.csv'])"
RECORD = "from tickstockpl.producer.record import recorded; next(recorded([None], 'day.csv'))"
FLAT_DAYS = "from pathlib import Path; from tickstockpl.producer.flat_days import FlatDays; FlatDays(Path())"
PARQUET = "from tickstockpl.ops.cli.data.bars_command import _write; _write(iter(()), (), 'parquet', 'bars.parquet')"


@pytest.mark.parametrize("use", [REPLAY, RECORD, FLAT_DAYS, PARQUET])
def test_who_needs_it_is_told_how_to_get_it(use, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT + use], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.stderr.splitlines()[-1].startswith("tickstockpl.contracts.errors.UsageError: this installation reads no")
    assert "TICKSTOCK_IMAGE_FLAT_FILES=yes in .env and `docker compose build`" in ran.stderr


def test_a_command_that_needs_it_ends_with_one_line(tmp_path):
    sample = "from tickstockpl.ops.entry import every_command; sys.argv[1:] = ['sample', 'day.csv']; every_command()"
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT + sample], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "this installation reads no flat files and writes no Parquet" in ran.stderr
    assert "Traceback" not in ran.stderr
