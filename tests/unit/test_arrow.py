"""An image of a live fleet has no pyarrow: its processes do not miss it, and who needs it is told what to do."""

import subprocess
import sys

import pytest

WITHOUT = "import sys; sys.modules['pyarrow'] = None; "


@pytest.mark.parametrize(
    "module", ["tickstockpl.ops.entry", "tickstockpl.ops.cli.every_command", "tickstockpl.ops.wiring.producer",
               "tickstockpl.ops.wiring.worker", "tickstockpl.ops.wiring.bridge"],
)  # fmt: skip
def test_each_process_starts_without_it(module):
    ran = subprocess.run([sys.executable, "-c", f"{WITHOUT}import {module}"], capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


REPLAY = "from tickstockpl.producer.replay import ReplaySource; ReplaySource(['day.csv'])"
RECORD = "from tickstockpl.producer.record import recorded; next(recorded([None], 'day.csv'))"
PARQUET = "from tickstockpl.ops.cli.data.bars_command import _write; _write(iter(()), (), 'parquet', 'bars.parquet')"


@pytest.mark.parametrize("use", [REPLAY, RECORD, PARQUET])
def test_who_needs_it_is_told_how_to_get_it(use, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT + use], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.stderr.splitlines()[-1].startswith("tickstockpl.contracts.errors.UsageError: this installation reads no")
    assert "TICKSTOCK_IMAGE_FLAT_FILES=yes in .env and `docker compose build`" in ran.stderr
