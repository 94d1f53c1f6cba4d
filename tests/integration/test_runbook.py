"""Each command of docs/runbook.md is run on real servers, beside a fleet that gives it something to say."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tickstockpl.contracts.names import FRONT_DOOR
from tickstockpl.ops.cli.every_command import every_command

from ..fleet.fleet import fleet_on, wait_for

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", RUNBOOK, re.DOTALL | re.MULTILINE)
COMMANDS = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines()))
ASKS_THE_VENDOR = {"tickstock gaps repair"}  # its `--help` is run instead
LISTENS_S = 6  # health is told every 5 s

# All in one process: to load the program for each costs more than what they do.
RUN_EACH = """
import json, sys
from click.testing import CliRunner
from tickstockpl.ops.cli.tickstock_command import tickstock

runs = (CliRunner().invoke(tickstock, arguments) for arguments in json.load(sys.stdin))
json.dump([(ran.exit_code, ran.stdout, ran.stderr + str(ran.exception or "")) for ran in runs], sys.stdout)
"""


@pytest.fixture(scope="module")
def fleet(module_servers, tmp_path_factory):
    """Run a worker, a bridge and jobs; they have refused an entry, told a pattern, and done a daily run."""
    with fleet_on(module_servers, tmp_path_factory.mktemp("runbook"), partitions=2) as fleet:
        fleet.rows("INSERT INTO always_open VALUES ('*')")  # whatever time of day it is
        fleet.start_worker("c1")
        fleet.start("bridge", "bridge")
        now_s = int(fleet.redis.time()[0])
        fleet.redis.xadd(FRONT_DOOR, {"symbol": "AAPL", "price": 100, "volume": 100, "timestamp": now_s + 3600})
        wait_for(lambda: fleet.rows("SELECT 1 FROM dead_letter WHERE reason = 'future'"), 20, "the first dead letter")
        for entry in entries(now_s):
            fleet.redis.xadd(FRONT_DOOR, entry)
        wait_for(lambda: fleet.rows("SELECT 1 FROM detection_flow"), 20, "a pattern")
        fleet.start("jobs", "jobs")
        fleet.rows("INSERT INTO run (run_id, run_date, trigger, universe, phases) "
                   "VALUES (gen_random_uuid(), '2025-06-02', 'manual', 'all', '{import}') RETURNING 1")  # fmt: skip
        wait_for(lambda: fleet.rows("SELECT 1 FROM run WHERE status = 'completed'"), 20, "the end of a daily run")
        yield fleet


def entries(now_s):
    """Make twelve minutes that go up and down by half a percent, a Doji behind them, and a tick that is refused."""
    minute = now_s // 60 - 13
    up, down, doji = ((0, 100.0), (58, 100.5)), ((0, 100.5), (58, 100.0)), ((0, 100.25), (20, 100.6), (40, 99.9))
    for i, trades in enumerate([*(up, down) * 6, (*doji, (50, -1), (58, 100.25))]):
        for second, price in trades:
            yield {"symbol": "AAPL", "price": price, "volume": 100, "timestamp": (minute + i) * 60 + second}


@pytest.fixture(scope="module")
def ran(fleet):
    """Run every command, in the order of the runbook: exit code, output and errors of each."""
    flow_id = str(fleet.rows("SELECT flow_id FROM detection_flow LIMIT 1")[0][0])
    arguments = [arguments_of(command, flow_id) for command in COMMANDS]
    environment = os.environ | {"REDIS_URL": fleet.servers.redis_url, "DATABASE_URL": fleet.servers.database_url}
    said = subprocess.run(
        [sys.executable, "-c", RUN_EACH], env=environment, input=json.dumps(arguments), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return dict(zip(COMMANDS, json.loads(said.stdout), strict=True))


def arguments_of(command, flow_id):
    """Read a line as a shell does; shorten how long it listens, and give it the one word that it lacks."""
    arguments = shlex.split(re.sub(r"--seconds \d+", f"--seconds {LISTENS_S}", command).replace("FLOW_ID", flow_id))[1:]
    return [*arguments, "--help"] if command in ASKS_THE_VENDOR else arguments


def test_the_runbook_has_only_commands_of_ours():
    assert len(COMMANDS) > 10
    assert [command for command in COMMANDS if not command.startswith("tickstock ")] == []
    assert set(COMMANDS) >= ASKS_THE_VENDOR


def test_each_option_that_the_runbook_speaks_of_is_one_of_ours():
    spoken_of = set(re.findall(r"`(--[a-z-]+)", RUNBOOK))
    assert len(spoken_of) > 5
    assert spoken_of - options_of(every_command) == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs_and_says_something(command, ran):
    code, output, errors = ran[command]
    assert code == 0, output + errors
    assert output.strip(), errors


def options_of(command):
    """Return the names of every option of a command and of those below it."""
    found = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found |= options_of(command.get_command(context, name))
    return found
