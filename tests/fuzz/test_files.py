import gzip
import random

import msgspec
from foreign import FLOATS, NUMBERS, TEXTS
from fuzzing import first_words, fuzz
from hypothesis import strategies as st
from test_messages import Sender, expect_ticks
from tickstockpl.contracts.detection import Detection
from tickstockpl.contracts.errors import RestBroken, UsageError
from tickstockpl.db.tables.results import OutboxRow
from tickstockpl.producer.framer import Numbered
from tickstockpl.producer.massive.rest import MassiveRest
from tickstockpl.producer.replay import ReplaySource
from tickstockpl.producer.spool.segment import frames_of, record_of
from tickstockpl.workers.bridge.result_messages import messages_of

SESSION = "550e8400-e29b-41d4-a716-446655440000"
SEEDS = st.integers(0, 2**62)
HEADER = ["ticker", "conditions", "correction", "exchange", "id", "price", "sip_timestamp", "size"]
GOOD = ["A", "37", "0", "4", "71", "1.5", "1740000000000000000", "10"]
ODD_CELLS = (
    *TEXTS,
    *map(repr, FLOATS),
    *map(str, NUMBERS),
    '"',
    '"a,b"',
    '"1.5',
    "\r",
    "1e5",
    "=1+1",
    " 1 ",
    "\xff",
    "37,12",
)


def lines_of(chance):
    """Make the bytes of a flat file, mostly with something odd in it."""
    rows = [list(GOOD) for _ in range(chance.choice((0, 1, 3, 400)))]
    for row in rows:
        while chance.random() < 0.1:
            row[chance.randrange(len(row))] = chance.choice(ODD_CELLS)
        while row and chance.random() < 0.02:
            row.pop()
    body = "\n".join(",".join(row) for row in [HEADER, *rows]) + "\n" * chance.choice((0, 1, 2))
    return damaged(chance, body.encode("utf-8", "surrogatepass"), often=0.2)


def damaged(chance, body, *, often):
    body = bytearray(body)
    while body and chance.random() < often:
        body[chance.randrange(len(body))] = chance.randrange(256)
    return bytes(body[: chance.randrange(len(body) + 1)] if chance.random() < often / 2 else body)


def test_files_of_trades(tally, tmp_path):
    file = tmp_path / "trades.csv.gz"

    def check(seed):
        chance = random.Random(seed)
        body = lines_of(chance)
        file.write_bytes(body if chance.random() < 0.5 else damaged(chance, gzip.compress(body, 1), often=0.2))
        outcomes = []
        try:
            for ticks in ReplaySource([file], rules=chance.choice(("sip", "all")), block_bytes=4096):
                outcomes += expect_ticks(ticks)
        except UsageError as e:
            outcomes.append(first_words(str(e).removeprefix(str(file))))
        tally.note(*outcomes)

    fuzz(tally, SEEDS, check, examples=250, round_size=100)


class Answering(MassiveRest):
    """A REST client whose one page is given."""

    def __init__(self, body):
        super().__init__("http://127.0.0.1:1", "", per_minute=1e9, wait=lambda _: False)
        self._client.get = lambda _: body


def test_pages_of_the_vendor(tally):
    bar = {"t": 1_740_000_000_000, "o": 1.0, "h": 2.0, "l": 0.5, "c": 1.5, "v": 10, "vw": 1.2, "n": 3}
    pages = [{"status": "OK", "results": [bar, bar | {"t": 1_740_000_060_000}], "next_url": None}]

    def check(seed):
        rest = Answering(Sender(seed).message(pages))
        try:
            ticks = rest.minute_bars("A", 1_740_000_000_000, 1_740_000_600_000)
        except RestBroken as e:
            tally.note(first_words(e))
        else:
            tally.note(*expect_ticks(ticks))
        finally:
            rest.close()

    fuzz(tally, SEEDS, check, examples=300, round_size=100)


def test_segments_of_a_spool(tally):
    def check(seed):
        chance = random.Random(seed)
        written = [Numbered(chance.randrange(4), i, i + 1, chance.randbytes(chance.randrange(60))) for i in range(4)]
        block = b"".join(map(record_of, written))
        read = [frame for frame, _ in frames_of(damaged(chance, block, often=0.4), 0)]
        assert read == written[: len(read)]
        tally.note(f"{len(read)} of 4 records")

    fuzz(tally, SEEDS, check, examples=500)


def test_results_that_the_bridge_tells(tally):
    detection = dict.fromkeys(Detection.__struct_fields__, 1)
    examples = [
        [
            detection
            | {"symbol": "A", "pattern": "Doji", "timeframe": "1min", "flow_id": "550e8400-e29b-41d4-a716-446655440000"}
        ]
    ]

    def check(seed):
        sender = Sender(seed)
        kind = sender.random.choice(("patterns", "indicators", "alerts", "bars", "void", "what", "\x1b[31m"))
        said = messages_of(OutboxRow(0, 1, kind, sender.message(examples)), SESSION)
        for _, body in said:
            assert isinstance(msgspec.json.decode(body), dict)
        tally.note(f"{kind if kind.isalpha() else 'other'}: {'said' if said else 'nothing said'}")

    fuzz(tally, SEEDS, check, examples=300, round_size=100)
