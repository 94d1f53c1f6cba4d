import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs
from tickstockpl.contracts.errors import DatabaseGone
from tickstockpl.db.backoff import Backoff
from tickstockpl.db.outage import Outage, server_of

from ..fake_world import FakeWorld


@pytest.fixture
def fake():
    return FakeWorld()


def test_pauses_double_up_to_the_longest(fake):
    backoff = Backoff(fake.world, first_s=0.5, longest_s=3.0)
    assert [backoff.pause_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.pause_s() == 0.5


def test_chance_takes_off_half_a_pause_at_most(fake):
    fake.chance = 0.0
    assert Backoff(fake.world, first_s=0.5).pause_s() == 0.25
    assert Backoff(fake.world, first_s=0.5, jitter=0.2).pause_s() == pytest.approx(0.4)
    fake.chance = 0.5
    assert Backoff(fake.world, first_s=0.5).pause_s() == pytest.approx(0.375)


def test_who_goes_on_meanwhile_is_told_when_the_pause_is_over(fake):
    backoff = Backoff(fake.world, first_s=2.0)
    assert backoff.is_due
    backoff.postpone()
    fake.now_s += 1.9
    assert not backoff.is_due
    fake.now_s += 0.1
    assert backoff.is_due


def away_and_back(outage, *errors):
    with capture_logs() as lines:
        for error in errors:
            outage.say(error)
        outage.end()
    return [(line["event"], line["server"], line.get("why")) for line in lines if line["log_level"] != "debug"]


def test_a_server_that_is_away_is_named_once_and_so_is_its_return(fake):
    outage = Outage("redis", Backoff(fake.world))
    refused, reset = RedisConnectionError("refused"), RedisConnectionError("reset")
    assert away_and_back(outage, refused, reset, refused) == [
        ("server away", "redis", "refused"),
        ("server back", "redis", None),
    ]
    assert away_and_back(outage) == []


def test_what_the_server_itself_says_is_logged_too_each_once(fake):
    outage = Outage("redis", Backoff(fake.world))
    errors = (RedisConnectionError("refused"), ResponseError("LOADING"), ResponseError("LOADING"), ResponseError("OOM"))
    said = [why for event, _, why in away_and_back(outage, *errors) if event == "server away"]
    assert said == ["refused", "LOADING", "OOM"]


def test_an_outage_with_ever_new_reasons_does_not_fill_the_log(fake):
    outage = Outage("massive", Backoff(fake.world), every_reason=True)
    said = away_and_back(outage, *(f"reason {number}" for number in range(100)))
    assert len([event for event, *_ in said if event == "server away"]) == 20


def test_an_error_knows_its_server():
    assert server_of(DatabaseGone("no such database", "postgresql")) == "postgresql"
    assert server_of(RedisConnectionError("refused")) == "redis"
