"""Frames that wait on disk for Redis: a bounded queue of segments, in a folder that its owner has locked.

SPOOL_DIR/PRODUCER/00000001.frames, 00000002.frames, ... After a crash a file is read up to its last complete record.
"""

import fcntl
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Self

import structlog

from ...contracts.errors import SetupError
from ...db.world import REAL, World
from ..framer import Numbered
from .segment import SUFFIX, Segment, find_segments, frames_of, record_of

log = structlog.get_logger()

SYNC_EVERY_S = 0.1  # a power cut loses at most this, a killed process nothing
_LOCK = "lock"
_SEGMENTS = 16  # of a full spool: a segment is deleted as a whole
_SEGMENT_BYTES = 16 << 20
_FRAMES_A_WRITE = 256


class Spool:
    """A queue of frames on disk, in the order in which they came; it can be read again until they are committed.

    If the disk is full, further frames stay in memory, and `is_full` is true.
    """

    def __init__(self, folder: Path, *, max_bytes: int, world: World = REAL) -> None:
        """Make the spool, or take over an existing one. Raises SetupError if another process has it, or it fails."""
        self.folder = folder
        self._world = world
        self._max_bytes = max_bytes
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _SEGMENTS + 1)
        self._unwritten: deque[Numbered] = deque()
        self._writing: int | None = None
        self._unsynced = self._complained = False
        self._synced_at = 0.0
        self._cursor, self._offset = 0, 0
        self._records: Iterator[tuple[Numbered, int]] = iter(())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            _lock_or_close(self._lock)
            self._segments = find_segments(folder)
        except BlockingIOError as e:
            raise SetupError(f"another process uses the spool {folder}: stop it, or give another --spool-dir") from e
        except OSError as e:
            raise SetupError(
                f"the spool {folder} cannot be written ({e}): give another --spool-dir, or --spool-max-bytes 0"
            ) from e
        self._number = max(self._segments, default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- size ------------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments.values())

    @property
    def is_full(self) -> bool:
        """There is no room for more ticks: max_bytes is reached, or the disk is full."""
        return self.size >= self._max_bytes or bool(self._unwritten)

    @property
    def is_empty(self) -> bool:
        """Every frame is committed and deleted."""
        return not (self._segments or self._unwritten)

    def holds(self, partition: int, *, above: int) -> bool:
        """Tell whether a frame of a partition above a number is on disk."""
        return any(segment.tops.get(partition, 0) > above for segment in self._segments.values())

    # -- writing ---------------------------------------------------------------------------------------------------

    def append(self, frames: Iterable[Numbered]) -> None:
        """Write frames after the others. Frames that the disk refuses are written with the next ones."""
        self._unwritten.extend(frames)
        try:
            while self._unwritten:
                self._write(list(islice(self._unwritten, _FRAMES_A_WRITE)))
        except OSError as e:
            self._complain(e)
        else:
            self._complained = False

    def _write(self, frames: list[Numbered]) -> None:
        segment = self._segment_to_write()
        records = b"".join([record_of(frame) for frame in frames])
        # At the segment's size, not the file's end: the next write replaces a record that a full disk cut off.
        if os.pwrite(self._open_to_write(segment), records, segment.size) < len(records):
            raise OSError("no space left on the disk")
        segment.size += len(records)
        self._unsynced = True
        for frame in frames:
            segment.tops[frame.partition] = frame.last
            self._unwritten.popleft()

    def _segment_to_write(self) -> Segment:
        segment = self._segments.get(self._number) if self._writing is not None else None
        if segment is None or segment.size >= self._segment_bytes:
            self._close_segment()
            self._number += 1
            segment = self._segments[self._number] = Segment(self.folder / f"{self._number:08}{SUFFIX}")
        return segment

    def _open_to_write(self, segment: Segment) -> int:
        if self._writing is None:
            try:
                if not self.folder.is_dir():
                    self._make_folder_again()
                self._writing = os.open(segment.path, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                del self._segments[self._number]
                raise
            _sync_folder(self.folder)
        return self._writing

    def _make_folder_again(self) -> None:
        """Somebody removed the folder: make it and its lock anew, as frames that wait would be refused for ever."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        _lock_or_close(lock)
        os.close(self._lock)
        self._lock = lock
        log.warning("the spool's folder was removed while in use: made again", folder=str(self.folder))

    def _close_segment(self) -> None:
        if self._writing is None:
            return
        self._sync(self._writing)
        os.close(self._writing)
        self._writing = None

    def sync_if_due(self) -> None:
        """Sync to the disk every 100 ms: a power cut loses at most that."""
        if self._world.monotonic_s() < self._synced_at + SYNC_EVERY_S:
            return
        self._synced_at = self._world.monotonic_s()
        if self._unwritten:
            self.append(())
        if self._unsynced and self._writing is not None:
            self._sync(self._writing)

    def _sync(self, descriptor: int) -> None:
        try:
            os.fdatasync(descriptor)
            self._unsynced = False
        except OSError as e:
            self._complain(e)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            log.error("spool cannot be used", folder=str(self.folder), why=str(error))
        self._complained = True

    def take_unwritten(self) -> list[Numbered]:
        """Return the frames for which the disk had no room. Call it only when all before them have been read."""
        unwritten = list(self._unwritten)
        self._unwritten.clear()
        return unwritten

    # -- reading ---------------------------------------------------------------------------------------------------

    def rewind(self) -> None:
        """Read from the first frame again."""
        self._cursor, self._offset, self._records = 0, 0, iter(())

    def read(self, count: int) -> list[Numbered]:
        """Return the next frames, at most `count`; [] at the end, to which more frames may be added."""
        frames: list[Numbered] = []
        while len(frames) < count:
            record = next(self._records, None)
            if record is not None:
                frame, self._offset = record
                frames.append(frame)
            elif not self._read_on():
                break
        return frames

    def _read_on(self) -> bool:
        """Read the records after the cursor, from its segment or the next one; False at the end."""
        while True:
            segment = self._segments.get(self._cursor)
            if segment and self._offset < segment.size:
                fetched = self._fetch(segment)
                if fetched is None:
                    return False  # the disk cannot be read now: do not shorten the file
                if fetched:
                    return True
                log.warning("spool shortened to its last complete record", file=str(segment.path), at=self._offset)
                segment.size = self._offset
            if segment:
                segment.is_known = True
            later = min((number for number in self._segments if number > self._cursor), default=None)
            if later is None:
                return False
            self._cursor, self._offset = later, 0

    def _fetch(self, segment: Segment) -> bool | None:
        """Read a segment from the offset on; False if there is no good record, None if the disk refuses."""
        try:
            with segment.path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(segment.size - self._offset)
        except FileNotFoundError:
            block = self._removed(segment)
        except OSError as e:
            self._complain(e)
            return None
        records = list(frames_of(block, self._offset))
        for frame, _ in records:
            segment.tops[frame.partition] = max(frame.last, segment.tops.get(frame.partition, 0))
        self._records = iter(records)
        return bool(records)

    def _removed(self, segment: Segment) -> bytes:
        """Return the rest of a file that somebody removed. While it is open for writing, the system still has it."""
        if self._writing is not None and segment is self._segments.get(self._number):
            whole = os.pread(self._writing, segment.size, 0)
            try:
                self._write_again(segment, whole)
            except OSError as e:
                self._complain(e)
            return whole[self._offset :]
        lost = segment.size - self._offset
        log.error("a file of the spool was removed: its frames are lost", file=str(segment.path), bytes=lost)
        return b""

    def _write_again(self, segment: Segment, whole: bytes) -> None:
        if not self.folder.is_dir():
            self._make_folder_again()
        fresh = os.open(segment.path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.pwrite(fresh, whole, 0) < len(whole):
            os.close(fresh)
            segment.path.unlink(missing_ok=True)
            raise OSError("no space left on the disk")
        former, self._writing, self._unsynced = self._writing, fresh, True
        if former is not None:
            os.close(former)

    # -- the end of frames -----------------------------------------------------------------------------------------

    def forget(self, done: dict[int, int]) -> None:
        """Delete the segments whose frames are all committed. done: by partition."""
        for number, segment in list(self._segments.items()):
            if segment.is_committed(done):
                if number == self._number:
                    self._close_segment()
                del self._segments[number]
                with suppress(OSError):  # then the next start sends it again, as repeats
                    segment.path.unlink()

    def close(self) -> None:
        """Close the spool for the next start; delete the folder if it is empty."""
        self._close_segment()
        if self.is_empty:
            (self.folder / _LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # not empty: another process has just looked into it, and a later start deletes it
                self.folder.rmdir()
        os.close(self._lock)

    def clear(self) -> None:
        """Delete every frame."""
        self._unwritten.clear()
        for segment in self._segments.values():
            segment.is_known = True
            segment.tops.clear()
        self.forget({})


def _lock_or_close(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
