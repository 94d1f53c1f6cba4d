"""The bytes of server-sent events."""

from tickstockpl.ops.api.live.blocks import chunks_of
from tickstockpl.ops.api.live.event_hub import Event
from tickstockpl.ops.api.live.wanted import wanted_of


def test_small_events_share_a_chunk_and_a_long_queue_does_not():
    small = [Event(3, 7, "patterns", b"[1]"), Event(3, 8, "bars", b"{}"), Event(-1, 9, "run", b'{"a":"\xc3\xa9"}')]
    large = [Event(0, number, "run", b'"' + 40_000 * b"x" + b'"') for number in (1, 2, 3)]
    wanted = wanted_of("patterns,run", None)
    assert list(chunks_of(small, wanted)) == [
        b'id: 3-7\nevent: patterns\ndata: [1]\n\nid: runs-9\nevent: run\ndata: {"a":"\xc3\xa9"}\n\n'
    ]
    assert [chunk.count(b"event: run") for chunk in chunks_of(large, wanted)] == [2, 1]
    assert list(chunks_of([small[1]], wanted)) == []
