"""The limits on input of one message: bytes and rows, checked before anything is unpacked.

Our own frames hold at most 512 ticks, or 64 refused rows. The largest frames come from the front door: all rows of one
entry stay in one frame. 64 KiB of JSON can hold 32,768 elements (`[1,1,...]`), after up to 512 rows of other entries.
"""

MAX_TICKS = 512  # in one frame; only a front-door entry with more rows exceeds it
MAX_FRAME_ROWS = 33_280  # ticks and refused rows of one frame: 512 + 32,768
MAX_FRAME_BYTES = 8 << 20  # of one frame, packed: 64 refused rows of 64 KiB are half of it
MAX_BODY_BYTES = 65_536  # of one message, entry or line, and of the stored part of a refused one
MAX_DETAIL_LENGTH = 8_192  # characters of the reason why a row is refused; it may contain a file's path
MAX_NUMBER = 1 << 48  # a producer's largest tick number: 8 years at a million a second; sums fit an int64

FULL_SHARE = 0.9  # of Redis's maxmemory: above it producers wait until the workers have read more

READ_TICKS = 262_144  # rows that a worker unpacks in one turn, whatever the frames claim
READ_BYTES = 32 << 20  # in one reply of Redis: more than twice the size of 512 full frames, uncompressed
HELD_FRAMES = 2048  # kept of one producer after missing frames, about 1 M ticks; later frames are read again
HELD_BYTES = 64 << 20  # kept after missing frames by one worker, shared among its partitions
LOST_RANGES = 1_000  # of one producer in one partition; frames of an older range count as repeats
# Producers known in one partition. A producer is removed a day after its lease ended, a replay when it has ended. Above
# half of this limit, names that never had a lease are removed at once.
MAX_PRODUCERS = 4_096

# Limits of the front door. Its owner holds at most one reply of Redis in memory, and the rows of one piece. The lease
# is renewed between pieces.
DOOR_READ_ENTRIES = 10_000  # at most, in one reply
DOOR_READ_BYTES = 4 << 20  # about, in one reply: large entries are read in smaller batches
DOOR_PIECE_WEIGHT = 256 << 10  # of entries parsed together: 4,000 ticks of JSON, or 130,000 invalid elements
DOOR_PLAIN_WEIGHT = 24  # the weight of an entry with at most one row; the weight of other entries is their bytes
DOOR_ROWS_AHEAD = 1_000_000  # framed, but not applied yet by the slowest partition
DOOR_BYTES_AHEAD = 128 << 20  # read, but not applied yet: the limit of what is copied when the stream is rebuilt
LONG_REFUSED_ROWS = 64  # in one frame: 64 KiB each
