"""The listener of a channel, while nothing is said."""

import os
import signal
import threading
import time

import pytest
from tickstockpl.db.world import REAL
from tickstockpl.producer.channel import _Listener

NOBODY = "redis://127.0.0.1:1/0"
HANDLER_S = 0.05  # longer than a listener waits for a first message


@pytest.fixture
def slow_handler():
    """Handle SIGUSR1 for longer than the rest of a wait, as the start of a thread does on a busy machine."""
    before = signal.signal(signal.SIGUSR1, lambda *_: time.sleep(HANDLER_S))
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("slow_handler")
def test_a_signal_while_nothing_is_said_does_not_make_the_wait_endless():
    listener = _Listener(NOBODY, "tickstock.data.raw", world=REAL)
    signalled = threading.Timer(0.003, os.kill, (os.getpid(), signal.SIGUSR1))
    late = threading.Timer(5, listener._put, (b"heard",))
    signalled.start()
    late.start()
    heard = []
    while signalled.is_alive():
        heard += listener.take().bodies
    late.cancel()
    assert heard == []
