"""How much anybody may send us at once: bytes and rows, held before anything is unpacked. The one place for these.

Our own frames hold at most 512 ticks, or 64 refused rows. The most of a frame comes from the front door, where the rows
of one entry stay together under the entry's number: 64 KiB of JSON spell at most 32,768 elements (`[1,1,...]`), and 512
rows may stand before them.
"""

MAX_TICKS = 512  # of one frame of ours; only a front-door entry with more rows goes beyond, its rows stay together
MAX_FRAME_ROWS = 33_280  # ticks and refused rows of one frame: 512 + 32,768
MAX_FRAME_BYTES = 8 << 20  # of one frame, packed: 64 refused rows of 64 KiB are half of it
MAX_BODY_BYTES = 65_536  # of one message, entry or line, and of the stored part of a refused one
MAX_DETAIL_LENGTH = 8_192  # characters that say why a row is refused: a file's path may stand in them
MAX_NUMBER = 1 << 48  # of a producer that counts ticks: 8 years at a million a second; sums of them fit an int64

FULL_SHARE = 0.9  # of Redis's maxmemory: from there on producers wait for the workers to drain

READ_TICKS = 262_144  # rows unpacked in one turn of a worker, whatever its frames claim
READ_BYTES = 32 << 20  # in one reply of Redis: what 512 full frames take uncompressed, more than twice
HELD_FRAMES = 2048  # of one producer behind a hole, about 1 M ticks; the rest is read again when the hole is filled
HELD_BYTES = 64 << 20  # of all that a worker holds behind holes, shared out among the partitions
LOST_RANGES = 1_000  # of one producer in one partition; a frame of an older one counts as a repeat
# Known in one partition. One leaves a day after its lease ended, a replay when it has ended; from half of them on names
# that never had a lease leave at once.
MAX_PRODUCERS = 4_096

# Of the front door, whatever waits there: its owner has one reply of Redis in memory at most, and of its rows those of
# one piece; a lease is renewed between pieces.
DOOR_READ_ENTRIES = 10_000  # at most, in one reply
DOOR_READ_BYTES = 4 << 20  # about, in one reply: fewer entries are asked for where they are large
DOOR_PIECE_WEIGHT = 256 << 10  # of entries parsed together: 4,000 ticks of JSON, or 130,000 elements that are no tick
DOOR_PLAIN_WEIGHT = 24  # of an entry that cannot hold more than one row; any other weighs its bytes
DOOR_ROWS_AHEAD = 1_000_000  # framed, but not applied yet by the slowest partition
DOOR_BYTES_AHEAD = 128 << 20  # read, but not applied yet: so much is copied where the stream is built anew
LONG_REFUSED_ROWS = 64  # in one frame: 64 KiB each
