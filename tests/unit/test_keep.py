import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import psutil
import pytest
from tickstockpl.ops.jobs.keep import Pauses

KEEP = (sys.executable, "-m", "tickstockpl.ops", "keep")


@contextmanager
def kept(script, *options):
    """Keep a shell script running."""
    command = [*KEEP, *options, "--", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as keeper:
        try:
            yield keeper
        finally:
            keeper.kill()


def lines(file):
    """Return the whole lines of a file, none where there is no file yet."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def test_a_pause_is_twice_the_last_one_up_to_half_a_minute_with_jitter():
    pauses = Pauses()
    whole = [0.5, 1, 2, 4, 8, 16, 30, 30]
    for expected, pause in zip(whole, [pauses.after(0) for _ in whole], strict=True):
        assert expected / 2 <= pause <= expected


def test_a_healthy_minute_makes_the_pause_short_again():
    pauses = Pauses()
    for _ in range(5):
        pauses.after(59.9)
    assert pauses.after(59.9) >= 8
    assert pauses.after(60) <= 0.5
    assert pauses.after(0) >= 0.5


def test_what_dies_is_started_again_and_a_stop_is_passed_on(tmp_path, wait_for):
    lives = tmp_path / "lives"
    script = (
        f"echo $$ >> {lives}; [ $(wc -l < {lives}) -lt 2 ] && exit 1; trap 'exit 7' TERM; while :; do sleep 0.05; done"
    )
    with kept(script) as keeper:
        wait_for(lambda: len(lines(lives)) == 2)
        os.kill(int(lines(lives)[1]), signal.SIGKILL)
        wait_for(lambda: len(lines(lives)) == 3)
        keeper.terminate()
        # Before its trap is set, the signal itself ends it.
        assert keeper.wait(120) in (7, 128 + signal.SIGTERM)
    assert len(lines(lives)) == 3


def test_a_usage_error_is_not_tried_again(tmp_path):
    lives = tmp_path / "lives"
    with kept(f"echo >> {lives}; exit 2") as keeper:
        assert keeper.wait(120) == 2
    assert len(lines(lives)) == 1


def test_a_command_that_is_not_there_is_a_usage_error():
    ran = subprocess.run([*KEEP, "--", "no-such-command"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (2, "Error: no-such-command: No such file or directory\n")


def test_what_has_done_its_work_is_not_started_again_and_the_keeper_stays(tmp_path, wait_for):
    lives = tmp_path / "lives"
    with kept(f"echo >> {lives}") as keeper:
        wait_for(lambda: lines(lives))
        with pytest.raises(subprocess.TimeoutExpired):
            keeper.wait(1)  # longer than the first pause
        keeper.terminate()
        assert keeper.wait(120) == 0
    assert len(lines(lives)) == 1


def test_the_first_stop_waits_as_told_and_the_second_does_not(tmp_path, wait_for):
    lives = tmp_path / "lives"
    with kept(f"trap 'exit 0' INT; echo >> {lives}; while :; do sleep 0.05; done", "--stop-after-s", "3600") as keeper:
        wait_for(lambda: lines(lives))
        keeper.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            keeper.wait(0.3)
        keeper.send_signal(signal.SIGINT)
        assert keeper.wait(120) == 0


def test_each_further_stop_is_passed_on_too(tmp_path, wait_for):
    lives, heard = tmp_path / "lives", tmp_path / "heard"
    traps = "; ".join(f"trap 'echo {name} >> {heard}' {name}" for name in ("TERM", "INT"))
    with kept(f"{traps}; trap 'exit 3' HUP; echo $$ >> {lives}; while :; do sleep 0.05; done") as keeper:
        wait_for(lambda: lines(lives))
        for number, name in ((signal.SIGTERM, "TERM"), (signal.SIGTERM, "TERM"), (signal.SIGINT, "INT")):
            before = lines(heard)
            keeper.send_signal(number)
            wait_for(lambda: lines(heard) != before)  # noqa: B023  # called at once
            assert lines(heard) == [*before, name]
        os.kill(int(lines(lives)[0]), signal.SIGHUP)
        assert keeper.wait(20) == 3


def test_a_command_that_vanishes_while_it_is_kept_is_tried_again(tmp_path, wait_for):
    lives, command, elsewhere = (tmp_path / name for name in ("lives", "command", "elsewhere"))
    command.write_text(f"#!/bin/sh\necho >> {lives}\nmv {command} {elsewhere}\nexit 1\n")
    command.chmod(0o700)
    with subprocess.Popen([*KEEP, "--", command], stderr=subprocess.PIPE, text=True) as keeper:
        assert any("cannot be started" in line for line in keeper.stderr)
        elsewhere.rename(command)
        wait_for(lambda: len(lines(lives)) == 2)
        keeper.terminate()
        keeper.wait(20)


def test_the_standard_input_of_the_command_ends_with_a_killed_keeper(tmp_path, wait_for):
    lives, ends = tmp_path / "lives", tmp_path / "ends"
    with kept(f"echo >> {lives}; cat; echo >> {ends}") as keeper:
        wait_for(lambda: lines(lives))
        keeper.kill()
        assert len(wait_for(lambda: lines(ends))) == 1


@pytest.mark.parametrize("how", ["closed terminal", "killed parent"])
def test_a_command_does_not_outlive_who_started_its_keeper(tmp_path, wait_for, how):
    lives, ends = tmp_path / "lives", tmp_path / "ends"
    script = f"trap 'echo >> {ends}; exit 0' TERM; echo >> {lives}; while :; do sleep 0.05; done"
    starter = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    command = [sys.executable, "-c", starter, *KEEP, "--", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as parent:
        wait_for(lambda: lines(lives))
        (keeper,) = psutil.Process(parent.pid).children()
        if how == "killed parent":
            parent.kill()
            parent.stderr.close()  # nobody reads its log any more
        else:
            keeper.send_signal(signal.SIGHUP)
        wait_for(lambda: lines(ends))
        wait_for(lambda: not keeper.is_running())
    assert len(lines(lives)) == 1


def test_what_is_always_kept_comes_back_after_a_stop_of_its_own_and_not_after_ours(tmp_path, wait_for):
    lives = tmp_path / "lives"
    script = f"trap 'exit 0' TERM; echo $$ >> {lives}; while :; do sleep 0.05; done"
    with kept(script, "--always") as keeper:
        wait_for(lambda: lines(lives))
        os.kill(int(lines(lives)[0]), signal.SIGTERM)
        wait_for(lambda: len(lines(lives)) == 2)
        keeper.terminate()
        assert keeper.wait(20) == 0
        assert "ended, restarting" in keeper.stderr.read()
    assert len(lines(lives)) == 2
