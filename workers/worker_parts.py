"""Makes the parts of a worker, each with what it needs."""

from functools import partial

from ..contracts.bounds import READ_BYTES
from ..contracts.spellings.tick_json import parse_entries
from ..db import redis
from ..db.postgres import Database
from ..db.redis import Client
from ..db.streams.door_stream import DoorStream
from ..db.world import World
from .acks import Acks
from .assignment import Assignment
from .commit.commit_pacing import CommitPacing
from .commit.committer import Committer
from .commit.marked_bars import MarkedBars
from .commit.teller import Teller
from .commit.worker_figures import WorkerFigures
from .door.door_reader import DoorReader
from .door.front_door import FrontDoor
from .lookout import Lookout
from .owned_partitions import OwnedPartitions
from .partition.finished_replays import FinishedReplays
from .partition_reader import PartitionReader
from .redis_clock import RedisClock
from .restore.restore_end import RestoreEnd
from .restore.restorer import Restorer
from .row_retention import RowRetention
from .set_aside import SetAside
from .upkeep import Upkeep
from .vanished import Vanished
from .worker_options import WorkerOptions


class WorkerParts:
    """The parts of one worker. It opens two more connections to Redis: for the partitions, and for the front door."""

    def __init__(
        self,
        options: WorkerOptions,
        *,
        database: Database,
        client: Client,
        redis_url: str,
        partitions: int,
        world: World,
    ) -> None:
        self.figures = WorkerFigures(options.consumer, world=world)
        self.committer = Committer(
            database,
            client,
            options.consumer,
            world=world,
            figures=self.figures,
            detects=options.detects,
            history_mb=options.history_mb,
        )
        limits = options.limits(self.committer.shape, partitions)
        reading = redis.connect(redis_url, reply_bytes=READ_BYTES)
        self.reader = PartitionReader(reading, options.consumer, world=world, group=options.group)
        self.teller = Teller(client, database, retention_s=options.retention_s, world=world)
        self.finished = FinishedReplays(database)
        self.restorer = Restorer(
            database,
            self.reader,
            committer=self.committer,
            teller=self.teller,
            finished=self.finished,
            limits=limits,
        )
        self.acks = Acks(client, self.reader, retention_s=options.retention_s)
        self.pacing = CommitPacing(commit_s=options.commit_ms / 1000, world=world)
        self.assignment = Assignment(database, options.consumer, partitions, world=world)
        self.clock = RedisClock(database, world=world)
        self.front_door = FrontDoor(
            client,
            database,
            options.consumer,
            partitions=partitions,
            reader=DoorReader(
                DoorStream(redis.connect(redis_url, reply_bytes=READ_BYTES), group=options.group),
                clock=self.clock.steady,
                max_ahead_ms=int(options.max_future_s * 1000),
            ),
            parse=partial(parse_entries, second_stamp=options.second_stamp, rules=options.trade_rules),
            limits=limits,
            world=world,
        )
        self.lookout = Lookout(self.reader, self.finished.number, world=world)
        self.marked = MarkedBars(self.committer, reader=self.reader, lookout=self.lookout)
        self.owned = OwnedPartitions(
            self.assignment,
            self.restorer,
            set_aside=SetAside(client, world=world),
            figures=self.figures,
            limits=limits,
            parts=(self.reader, self.acks, self.teller, self.committer),
        )
        self.upkeep = Upkeep(client, database, self.reader, hole_wait_s=options.missing_frames_wait_s, world=world)
        self.vanished = Vanished(database, self.reader, wait_s=options.missing_frames_wait_s, world=world)
        self.restore_end = RestoreEnd(
            self.reader, self.acks, finished=self.finished, lookout=self.lookout, upkeep=self.upkeep, world=world
        )
        self.row_retention = RowRetention(options.keep, world=world)
