"""Job processes for tests: how they are started and killed, and what a subscriber hears of their work."""

import json
import threading
from threading import Event

import redis
from tickstockpl.contracts.names import JOBS


def start_jobs(fleet):
    name = f"jobs-{len(fleet.processes)}"
    fleet.start(name, "jobs", "--name", name)


def disturb_jobs(fleet, numbers, number):
    """Kill one of the job processes or all of them, and begin others; now and then Redis forgets, or repeats."""
    names = [name for name, process in fleet.processes.items() if name.startswith("jobs") and process.poll() is None]
    killed = names if number % 4 == 3 else [numbers.choice(names)]
    for name in killed:
        fleet.kill(name)
    if number % 3 == 1:
        fleet.redis.flushall()
    for _, fields in fleet.redis.xrange(JOBS, count=3):
        fleet.redis.xadd(JOBS, fields)
    for _ in killed:
        start_jobs(fleet)


class Heard:
    """What a subscriber of some channels hears, from a thread of its own."""

    def __init__(self, servers, *channels):
        self.messages = []
        self._stop = Event()
        self._client = redis.Redis.from_url(servers.redis_url)
        self._pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.psubscribe(*channels)
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _hear(self):
        while not self._stop.is_set():
            if message := self._pubsub.get_message(timeout=0.1):
                self.messages.append((message["channel"].decode(), json.loads(message["data"])))
