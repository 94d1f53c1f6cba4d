"""The systemd unit: what it starts exists, and what it says of exit codes is what honcho and our commands do."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "tickstock.service"


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(UNIT.read_text())
    return parser


def test_it_starts_the_processes_of_the_procfile(unit):
    program, *words = unit["Service"]["ExecStart"].split()
    assert program == "/opt/tickstockpl/.venv/bin/honcho"
    kinds = {line.split(":")[0] for line in (ROOT / "Procfile").read_text().splitlines() if not line.startswith("#")}
    assert {kind.split("=")[0] for kind in words[-1].split(",")} <= kinds


def test_a_mistake_is_not_tried_again_and_a_stop_is_no_failure(unit):
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert unit["Service"]["SuccessExitStatus"].split() == ["130", "143"]
    assert unit["Service"]["KillMode"] == "mixed"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_systemd_takes_it(tmp_path):
    text = UNIT.read_text().replace("/opt/tickstockpl/.venv/bin/honcho", "/bin/true").replace("User=tickstock", "")
    (tmp_path / "tickstock.service").write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "tickstock.service")], capture_output=True, text=True, check=False
    )
    assert "tickstock.service" not in ran.stderr, ran.stderr
