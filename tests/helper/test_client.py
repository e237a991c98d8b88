"""A client whose helper has stopped: every call ends in its own time, and none claims what it cannot know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from schedtui.backend.errors import HelperGone, SchedtuiError
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient


@pytest.fixture
def stopped_helper() -> Iterator[HelperClient]:
    """A client of a helper that neither reads nor answers."""
    near, far = socket.socketpair()
    client = HelperClient(near)
    yield client
    client.close()
    far.close()


def test_a_helper_that_does_not_answer_is_not_said_to_have_given_the_kernel_back(stopped_helper: HelperClient) -> None:
    with pytest.raises(HelperGone) as caught:
        stopped_helper.call(protocol.GetScheduler(), 0.05)
    assert "did not answer" in caught.value.message
    assert "kernel" not in caught.value.message + caught.value.remedy


@pytest.mark.slow
def test_a_panic_does_not_wait_for_a_large_message_that_the_helper_does_not_take(stopped_helper: HelperClient) -> None:
    ended = threading.Event()

    def call(body: protocol.Load | protocol.DoPanic, timeout_s: float) -> None:
        try:
            stopped_helper.call(body, timeout_s)
        except SchedtuiError:
            ended.set()

    threading.Thread(target=call, args=(protocol.Load("large", bytes(3 << 20)), 60), daemon=True).start()
    assert not ended.wait(0.3), "the large message fills the socket"
    threading.Thread(target=call, args=(protocol.DoPanic(), 0.2), daemon=True).start()

    assert ended.wait(60)


@pytest.mark.slow
def test_after_a_message_that_was_cut_short_the_next_one_begins_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schedtui.backend.helper.client._SEND_LIMIT_S", 1)
    near, far = socket.socketpair()
    client = HelperClient(near)
    with pytest.raises(HelperGone):
        client.call(protocol.Load("large", bytes(3 << 20)), 60)

    received = bytearray()

    def read() -> None:
        while data := far.recv(1 << 20):
            received.extend(data)

    reading = threading.Thread(target=read)
    reading.start()
    with pytest.raises(HelperGone):
        client.call(protocol.DoPanic(), 0.5)
    client.close()
    reading.join()
    far.close()

    half, whole, end = received.split(b"\n")
    assert half.startswith(b"{") and not end
    assert isinstance(protocol.decode_request(bytes(whole)).body, protocol.DoPanic)
