"""The loops of `tickstock-jobs` in a thread, with sources of a test's choice."""

import threading
from uuid import uuid4

from tickstockpl.ops.wiring.jobs import make_jobs
from tickstockpl.ops.wiring.servers import Place

KEY = uuid4().hex  # a random one: no key stands in a file


class OneProcess:
    """Runs until `close`, which raises what it died of."""

    def __init__(self, servers, options):
        self._stop = threading.Event()
        place = Place(servers, embedded=False, connect_timeout_s=30)
        self._jobs = make_jobs(place, name=f"jobs-{uuid4().hex[:6]}", stop=self._stop, options=options)
        self._died = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self._jobs.run()
        except BaseException as e:  # noqa: BLE001  # of any kind: it must not die
            self._died.append(e)

    def close(self):
        self._stop.set()
        self._thread.join(60)
        if self._died:
            raise self._died[0]
