"""The clients of /events: what each hears, and what becomes of one that does not read."""

import asyncio

import pytest
from tickstockpl.contracts.errors import UsageError
from tickstockpl.db.metrics import EVENT_CLIENTS, EVENT_CLIENTS_DROPPED
from tickstockpl.ops.api.live import event_hub
from tickstockpl.ops.api.live.event_hub import Event, EventHub, TooManyClients, read_id


def event(number, *, partition=0, size=1):
    return Event(partition, number, "bars", b"x" * size)


def dropped(reason):
    return EVENT_CLIENTS_DROPPED.labels(reason)._value.get()


def test_a_client_that_does_not_read_is_sent_away_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(event_hub, "_MOST_WAITING_BYTES", 10_000)
    before = dropped("slow")

    async def play():
        hub = EventHub()
        slow, quick = hub.join(None)[0], hub.join(None)[0]
        heard = []
        for number in range(1, 5):
            hub.tell([event(number, size=3000)])
            heard += await quick.next(1)
        assert EVENT_CLIENTS._value.get() == 1
        assert [one.number for one in heard] == [1, 2, 3, 4]
        waiting = await slow.next(1)
        assert (len(waiting), await slow.next(1)) == (4, None)

    asyncio.run(play())
    assert dropped("slow") == before + 1


def test_a_send_that_waits_for_a_slow_client_is_broken_off(monkeypatch):
    monkeypatch.setattr(event_hub, "_MOST_WAITING_BYTES", 1000)

    async def play():
        hub, joined = EventHub(), asyncio.Event()

        async def send():
            hub.join(None)
            joined.set()
            await asyncio.Event().wait()  # the client takes nothing

        sending = asyncio.create_task(send())
        await asyncio.wait_for(joined.wait(), 10)
        hub.tell([event(1, size=3000)])
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(play())


def test_there_is_room_for_so_many_clients(monkeypatch):
    monkeypatch.setattr(event_hub, "MOST_CLIENTS", 1)
    before = dropped("too_many")

    async def play():
        hub = EventHub()
        hub.check_room()
        client, _ = hub.join(None)
        with pytest.raises(TooManyClients):
            hub.check_room()
        hub.leave(client)
        hub.check_room()

    asyncio.run(play())
    assert dropped("too_many") == before + 1


def test_what_is_told_twice_is_heard_once():
    async def play():
        hub = EventHub()
        client, _ = hub.join(None)
        hub.tell([event(1), event(2)])
        client.put_first([event(1), event(1, partition=1)])
        assert [(one.partition, one.number) for one in await client.next(1)] == [(0, 1), (1, 1), (0, 2)]

    asyncio.run(play())


def test_an_event_that_is_remembered_is_gone_on_from():
    async def play():
        hub = EventHub()
        hub.tell([event(1), event(1, partition=1), event(2)])
        client, is_remembered = hub.join((1, 1))
        assert ([one.id for one in await client.next(1)], is_remembered) == (["0-2"], True)
        assert hub.join((0, 2))[1]
        assert not hub.join((0, 3))[1]
        assert await client.next(0.001) == []

    asyncio.run(play())


def test_after_the_close_what_waits_is_heard_and_then_the_end():
    async def play():
        hub = EventHub()
        client, _ = hub.join(None)
        hub.tell([event(1)])
        hub.close()
        assert len(await client.next(1)) == 1
        assert await client.next(1) is None
        assert await hub.join(None)[0].next(1) is None

    asyncio.run(play())


def test_ids_are_read_as_they_are_written():
    assert [read_id(event(7, partition=p).id) for p in (-1, 3)] == [(-1, 7), (3, 7)]
    for wrong in ("", "7", "0-", "runs", "0-7-1", "x-1", "0-" + "9" * 19):
        with pytest.raises(UsageError):
            read_id(wrong)
