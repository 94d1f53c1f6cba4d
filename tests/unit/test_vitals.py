"""What a process says of its own health."""

import pytest
from tickstockpl.db.vitals import Vitals
from tickstockpl.ops.process.metrics_server import health, readiness


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def vitals(clock):
    return Vitals(clock)


def test_a_process_that_begins_is_well_and_not_ready(vitals, clock):
    clock.now_s += 3600
    assert health(vitals) == (True, {"loop": "turns", "seconds_since_turn": 0.0})
    assert readiness(vitals) == (
        False,
        {"joined": False, "loop": "turns", "redis": "away", "postgresql": "away"},
    )


def test_a_process_that_has_joined_is_ready(vitals):
    vitals.join()
    assert readiness(vitals) == (True, {"joined": True, "loop": "turns", "redis": "up", "postgresql": "up"})


@pytest.mark.parametrize(("still_s", "is_well", "is_ready"), [(10, True, True), (11, True, False), (31, False, False)])
def test_a_loop_that_does_not_turn_is_stuck(vitals, clock, still_s, is_well, is_ready):
    vitals.join()
    clock.now_s += still_s
    assert (health(vitals)[0], readiness(vitals)[0]) == (is_well, is_ready)
    vitals.turn()
    assert (health(vitals)[0], readiness(vitals)[0]) == (True, True)


def test_a_wait_that_turns_keeps_a_process_well(vitals, clock):
    vitals.join()
    clock.now_s += 60
    assert vitals.turning(lambda _: True)(0.0) is True
    assert health(vitals)[0]


@pytest.mark.parametrize("server", ["redis", "postgresql"])
def test_without_a_server_a_process_is_well_and_not_ready(vitals, server):
    vitals.join()
    vitals.lost(server)
    is_ready, said = readiness(vitals)
    assert not is_ready
    assert [name for name in ("redis", "postgresql") if said[name] == "away"] == [server]
    assert health(vitals)[0]
    vitals.serves(server)
    assert readiness(vitals)[0]
