"""A Redis that came back without what it had: what its producers cannot send again is counted, never "lost 0"."""

import json
import re

import pytest
from redis_programs import KINDS
from tickstockpl.contracts.names import GROUP, stream_key
from tickstockpl.contracts.settings import Servers
from tickstockpl.db import postgres
from tickstockpl.db.look.lag import noted_numbers

from .fleet import fleet_on, wait_for
from .test_redis_restart import server_of

PARTITIONS = 3
RATE = 400
MARKET = ("producer", "--source", "synthetic", "--speed", "1x", "--rate", RATE, "--linger-ms", "1")


def noted(fleet):
    """Return how many ticks the producers noted to have sent, as long as that is not settled."""
    with postgres.connect(fleet.servers.database_url, name="test") as connection:
        return sum(sent.number for of in noted_numbers(connection).values() for sent in of.values())


def sent(fleet):
    """Count the ticks that Redis says were sent."""
    flows = (fleet.redis.hgetall(f"{stream_key(p)}:flow") for p in range(PARTITIONS))
    return sum(int(v.partition(b",")[0]) for flow in flows for k, v in flow.items() if k.startswith(b"sent:"))


def send_and_die(fleet, *, ticks, servers=None):
    """Let a live market send and note so many ticks, and kill it; end its lease. Return (noted, sent)."""
    fleet.start("market", *MARKET, servers=servers)
    wait_for(lambda: noted(fleet) >= ticks, 60, fleet.logs)
    fleet.kill("market")
    fleet.rows(
        "UPDATE lease SET expires_at = expires_at - interval '1 minute', renewed_at = renewed_at - interval '1 minute'"
        " WHERE starts_with(unit, 'producer:')"
    )
    return noted(fleet), sent(fleet)


def findings(fleet):
    return {finding["code"]: finding for finding in fleet.status()["findings"]}


def test_what_a_killed_producer_had_sent_into_a_redis_that_came_back_empty_is_lost_and_said(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        known, all_sent = send_and_die(fleet, ticks=500)
        assert 0 <= all_sent - known <= RATE * 10  # since the last note, on a busy machine
        fleet.redis.flushall()
        assert sum(partition["lag_ticks"] for partition in fleet.status()["partitions"]) == known
        found = findings(fleet)["REDIS_FORGOT"]
        assert f"{known:,} ticks" in found["message"]
        fleet.start_worker("w1", "--missing-frames-wait-s", "0.5")
        wait_for(lambda: fleet.ledger() and fleet.ledger()[0].lost == known, 90, fleet.logs)
        (row,) = fleet.ledger()
        assert (row.ticks_in, row.applied, row.lost, row.gap) == (known, 0, known, 0)
        wait_for(lambda: noted(fleet) == 0, 60, fleet.logs)  # settled
        assert "REDIS_FORGOT" not in findings(fleet)
        said = [line for line in fleet.log_file("w1").read_text().splitlines() if "ticks lost" in line]
        assert len(said) == PARTITIONS
        assert all(re.search(r"since.*until", line) for line in said)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_redis_that_was_restarted_under_the_users_file_has_all_that_a_killed_producer_sent(
    migrated_servers, tmp_path, kind, how
):
    (tmp_path / "redis").mkdir()
    with server_of(kind, tmp_path / "redis") as server:
        url = {role: f"redis://{role}:{server.words[role]}@127.0.0.1:{server.port}/0" for role in server.words}
        by = {role: Servers(url[role], migrated_servers.database_url) for role in url}
        with fleet_on(by["admin"], tmp_path, partitions=PARTITIONS) as fleet:
            known, all_sent = send_and_die(fleet, ticks=300, servers=by["producer"])
            server.end(how)
            server.start()
            assert sent(fleet) == all_sent
            fleet.start_worker("w1", "--missing-frames-wait-s", "0.5", servers=by["worker"])
            wait_for(lambda: [row.ticks_in for row in fleet.ledger()] == [all_sent], 90, fleet.logs)
            (row,) = fleet.ledger()
            assert (row.lost, row.gap, known <= all_sent) == (0, 0, True)


def test_what_the_streams_still_hold_is_no_loss(migrated_servers, tmp_path):
    """Somebody else has read it: it is read again, and the producer's death changes nothing."""
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        known, all_sent = send_and_die(fleet, ticks=300)
        for partition in range(PARTITIONS):
            fleet.redis.hdel(f"{stream_key(partition)}:flow", *fleet.redis.hkeys(f"{stream_key(partition)}:flow"))
            fleet.redis.xgroup_setid(stream_key(partition), GROUP, "$")
        fleet.start_worker("w1", "--missing-frames-wait-s", "0.5")
        wait_for(lambda: noted(fleet) == 0, 90, fleet.logs)
        (row,) = fleet.ledger()
        assert (row.ticks_in, row.lost, row.gap) == (all_sent, 0, 0)
        assert known <= all_sent


def test_the_tail_that_redis_lost_is_counted_and_the_rest_applied(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        known, _ = send_and_die(fleet, ticks=300)
        for partition in range(PARTITIONS):  # as an append-only file that was cut
            entries = fleet.redis.xrange(stream_key(partition))
            fleet.redis.delete(f"{stream_key(partition)}:flow")
            fleet.redis.xdel(stream_key(partition), *(key for key, _ in entries[len(entries) // 2 :]))
        fleet.start_worker("w1", "--missing-frames-wait-s", "0.5")
        wait_for(lambda: noted(fleet) == 0, 90, fleet.logs)
        (row,) = fleet.ledger()
        assert (row.ticks_in, row.gap) == (known, 0)
        assert 0 < row.lost < known


def test_a_producer_that_lives_sends_again_and_nothing_is_lost(migrated_servers, tmp_path):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start("market", *MARKET)
        wait_for(lambda: noted(fleet) >= 300, 60, fleet.logs)
        fleet.redis.flushall()
        fleet.start_worker("w1", "--missing-frames-wait-s", "0.5")
        assert fleet.stop("market", 120) == 0, fleet.logs()
        wait_for(lambda: noted(fleet) == 0, 90, fleet.logs)
        (row,) = fleet.ledger()
        assert row.ticks_in >= 300
        assert (row.lost, row.gap) == (0, 0)


def test_the_doctor_and_the_start_say_what_a_redis_has_forgotten(migrated_servers, tmp_path, tickstock):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        fleet.start_worker("w1")
        fleet.start("market", *MARKET)
        wait_for(lambda: sum(row.applied for row in fleet.ledger()) >= 300, 90, fleet.logs)
        for name in ("market", "w1"):
            fleet.stop(name, 120)
        said = tickstock("doctor", "--role", "worker", servers=fleet.servers).stdout
        assert "Redis streams" not in said
        fleet.redis.flushall()
        said = tickstock("doctor", "--role", "worker", servers=fleet.servers).stdout
        assert re.search(r"warn +Redis streams +.*end before the committed position", said), said
        fleet.start_worker("w2")
        wait_for(lambda: "Redis lost data" in fleet.log_file("w2").read_text(), 60, fleet.logs)


def test_status_says_the_same_to_a_program(migrated_servers, tmp_path, tickstock):
    with fleet_on(migrated_servers, tmp_path, partitions=PARTITIONS) as fleet:
        send_and_die(fleet, ticks=50)
        fleet.redis.flushall()
        report = json.loads(tickstock("status", "--json", servers=fleet.servers).stdout)
        assert not report["healthy"]
        assert [f["level"] for f in report["findings"] if f["code"] == "REDIS_FORGOT"] == ["error"]
