"""How a program of ours ends when it is broken off."""

import importlib.metadata
import subprocess
import sys

INTERRUPTED_AT_IMPORT = """
import builtins, os, signal
from tickstockpl.ops import entry

load = builtins.__import__
def interrupted(name, *rest):
    if name == "numpy":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *rest)
builtins.__import__ = interrupted
entry.tickstock()
"""
INTERRUPTED_AT_WORK = """
import os, signal, sys
from tickstockpl.ops import entry
from tickstockpl.ops.cli.channels import asyncapi_command

asyncapi_command.asyncapi_document = lambda: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["tickstock", "asyncapi"]
entry.tickstock()
"""
WORKER = "from tickstockpl.ops.entry import worker; worker()"


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


def test_ctrl_c_while_the_commands_are_loaded_ends_in_silence():
    ran = run(INTERRUPTED_AT_IMPORT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_ctrl_c_in_a_command_ends_it_without_a_traceback():
    ran = run(INTERRUPTED_AT_WORK)
    assert (ran.returncode, ran.stdout, ran.stderr.strip()) == (130, "", "")


def test_a_wrong_option_is_two_lines_and_exit_2():
    ran = run(WORKER, "--max-future-s", "nan")
    assert ran.returncode == 2
    assert "'nan' is not a finite number" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_worker_does_not_load_the_polars_that_ta_lib_looks_for():
    code = "import atexit, sys; atexit.register(lambda: print('talib' in sys.modules, sys.modules['polars'])); "
    assert run(code + WORKER, "--max-future-s", "nan").stdout == "True None\n"


def test_every_program_begins_here():
    scripts = importlib.metadata.distribution("tickstockpl").entry_points.select(group="console_scripts")
    assert {script.name: script.value for script in scripts} == {
        "tickstock": "tickstockpl.ops.entry:tickstock",
        "tickstock-api": "tickstockpl.ops.entry:api",
        "tickstock-bridge": "tickstockpl.ops.entry:bridge",
        "tickstock-jobs": "tickstockpl.ops.entry:jobs",
        "tickstock-producer": "tickstockpl.ops.entry:producer",
        "tickstock-worker": "tickstockpl.ops.entry:worker",
    }
    assert all(callable(script.load()) for script in scripts)


def test_an_output_that_nobody_reads_any_more_is_no_error_to_speak_of():
    command = [sys.executable, "-m", "tickstockpl.ops", "asyncapi"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode != 0
