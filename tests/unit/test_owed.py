"""Which frames on disk a writer with a spool must send although `done` is above them."""

import pytest
from tickstockpl.producer.sending.sender import Flow
from tickstockpl.producer.spool.owed import Owed


def flow(*, done, sent_to):
    return Flow(done, handed=100, sent_to=sent_to)


def test_what_done_passed_before_redis_took_it_is_owed():
    owed = Owed()
    owed.add_skipped(0, flow(done=10, sent_to=4))
    assert owed.settled(0, flow(done=12, sent_to=4)) == 4
    assert owed.settled(1, flow(done=12, sent_to=4)) == 12


def test_nothing_is_owed_where_redis_took_all_that_is_done():
    owed = Owed()
    owed.add_skipped(0, flow(done=10, sent_to=10))
    assert owed.settled(0, flow(done=10, sent_to=10)) == 10


@pytest.mark.parametrize("is_all_sent", [False, True])
def test_what_is_owed_is_kept_for_three_seconds_after_it_was_sent(is_all_sent):
    owed, sent = Owed(), flow(done=10, sent_to=10)
    owed.add_skipped(0, flow(done=10, sent_to=4))
    for now_s, settled in ((0.0, 4), (2.9, 4), (3.0, 10)):
        owed.pay(0, sent, now_s, is_all_sent=is_all_sent)
        assert owed.settled(0, sent) == settled


def test_a_redis_that_is_lost_again_begins_the_three_seconds_anew():
    owed = Owed()
    owed.add_skipped(0, flow(done=10, sent_to=4))
    for now_s, sent_to, settled in ((0.0, 10, 4), (2.0, 4, 4), (4.0, 10, 4), (6.9, 10, 4), (7.0, 10, 10)):
        owed.pay(0, flow(done=10, sent_to=sent_to), now_s, is_all_sent=False)
        assert owed.settled(0, flow(done=10, sent_to=sent_to)) == settled


def test_all_of_a_spool_that_was_left_behind_is_owed_until_it_is_sent():
    owed, sent = Owed(), flow(done=100, sent_to=100)
    owed.add_all(0)
    owed.pay(0, sent, 0.0, is_all_sent=False)
    owed.pay(0, sent, 10.0, is_all_sent=False)
    assert owed.settled(0, sent) == 0
    owed.pay(0, sent, 20.0, is_all_sent=True)
    owed.pay(0, sent, 23.0, is_all_sent=True)
    assert owed.settled(0, sent) == 100
