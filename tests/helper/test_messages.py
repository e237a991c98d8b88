"""Malformed, oversized, half-sent and hurried messages: each is answered or dropped, and the next client is served."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.server import Server
from schedtui.backend.helper.session import Limits, SocketChannel
from schedtui.backend.model import MachineInfo
from schedtui.backend.probes.sampler import Samplers
from tests.helper.running import answers, line

INFO = MachineInfo(
    kind="host", name="test", kernel="", sched_ext=False, default_scheduler="EEVDF", can_load=False, reason="a test"
)
STRICT = Limits(message_bytes=4096, unread_bytes=64 << 10, half_message_s=0.3, files=2, unanswered=16)


class Served:
    """A server in this process, and connections to it."""

    def __init__(self) -> None:
        handling = Handling()
        self.server = handling.server = Server(INFO, Samplers(), handling.common())
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind("")  # the kernel gives it a name of its own
        self.listening.listen(64)
        self.limits = STRICT
        self.server.listen(self.listening, lambda link: self.server.add(SocketChannel(link), self.limits))
        threading.Thread(target=self.server.run, daemon=True).start()

    def link(self, limits: Limits = STRICT) -> socket.socket:
        """A new connection under these limits."""
        self.limits = limits
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found.settimeout(20)
        found.connect(self.listening.getsockname())
        return found

    def serves(self) -> bool:
        """Whether an honest client is served."""
        with contextlib.closing(HelperClient(self.link(Limits()))) as honest:
            return honest.hello(20).info == INFO


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    it = Served()
    yield it
    it.server.close()
    it.listening.close()


BODIES = st.sampled_from(
    [
        line(protocol.Hello(protocol.VERSION, 1)),
        line(protocol.Subscribe(0.1)),
        line(protocol.Load("x", sealed=True)),
        line(protocol.Renew(0.5)),
        line(protocol.Tune({"slice_us": 3})),
        line(protocol.GetScheduler(), 1 << 62),
        line(protocol.Focus(("game",))),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """What a broken or hostile client sends: noise, a request with a part changed, cut or doubled, deep nesting."""
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return msgspec.json.encode({"id": draw(JSON), "body": draw(JSON)}) + b"\n"
    if kind == 2:
        return b"[" * draw(st.integers(1, 3000)) + b"\n"
    if kind == 3:
        return b"y" * draw(st.integers(3000, 9000)) + b"\n"
    whole = bytearray(draw(BODIES))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(whole) - 1))
        if draw(st.booleans()):
            whole[at] = draw(st.integers(0, 255))
        else:
            del whole[at : at + draw(st.integers(1, 4))]
        if not whole:
            break
    return bytes(whole)


def send(served: Served, sent: list[bytes], with_file: bool) -> None:
    """All of them over one connection, which is then left."""
    with served.link() as link, contextlib.suppress(OSError):
        for each in sent:
            if with_file:
                memory = jobs.sealed(b"x")
                socket.send_fds(link, [each or b"\n"], [memory])
                os.close(memory)
            else:
                link.sendall(each)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(messages(), max_size=8), st.booleans())
def test_nothing_that_is_sent_keeps_the_helper_from_the_next_client(
    served: Served, sent: list[bytes], with_file: bool
) -> None:
    send(served, sent, with_file)
    assert served.serves()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@settings(max_examples=12_500, suppress_health_check=list(HealthCheck))
@given(st.lists(messages(), min_size=8, max_size=8), st.booleans())
def test_a_hundred_thousand_messages_keep_the_helper_from_nothing(
    served: Served, sent: list[bytes], with_file: bool
) -> None:
    send(served, sent, with_file)
    assert served.serves()


def test_every_malformed_request_with_a_number_is_answered_by_that_number(served: Served) -> None:
    with served.link() as link:
        link.sendall(b'{"id": 41, "body": {"type": "format-the-disk"}}\n{"id": 42}\n')
        told = [each for _, each in zip(range(2), answers(link), strict=False)]
    assert [each.id for each in told] == [41, 42]
    assert all(each.failure and each.failure.kind == "bad-message" for each in told)


@pytest.mark.slow
def test_half_a_message_that_never_ends_is_the_end(served: Served) -> None:
    with served.link() as link:
        link.sendall(line(protocol.Hello(protocol.VERSION, 0))[:20])
        told = [each.failure for each in answers(link)]
    assert [each.message for each in told if each] == ["Half a message came, and its end did not."]


def test_a_message_that_comes_byte_by_byte_is_answered(served: Served) -> None:
    with served.link(Limits(half_message_s=30.0)) as link:
        for each in line(protocol.GetScheduler(), 5):
            link.send(bytes([each]))
        assert next(answers(link)).id == 5


def test_who_asks_without_reading_is_let_go(served: Served) -> None:
    """Its answers go nowhere: they are kept up to a limit, and then the connection ends."""
    asked = line(protocol.GetScheduler())
    with served.link() as deaf:
        deaf.setblocking(False)
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() - began < 30:
                with contextlib.suppress(BlockingIOError):
                    deaf.send(asked)
    assert served.serves()


@pytest.mark.slow
def test_who_sends_too_fast_is_slowed_down_and_answered(served: Served) -> None:
    with served.link(Limits(messages_per_s=50.0)) as link:
        count = 220
        link.sendall(b"".join(line(protocol.GetScheduler(), number) for number in range(1, count + 1)))
        began = time.monotonic()
        told = [each.id for _, each in zip(range(count), answers(link), strict=False)]
        assert told == list(range(1, count + 1))
        assert time.monotonic() - began > 0.2, "no more than 50 a second, after a burst of 200"


@pytest.mark.slow
def test_a_frame_of_a_client_that_reads_again_comes(served: Served) -> None:
    """While it does not read, no more are made for it; its events wait."""
    with served.link(Limits(unread_bytes=8 << 20)) as link:
        link.sendall(line(protocol.Subscribe(0.1)))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        time.sleep(0.5)
        assert any(each.frame for _, each in zip(range(4), answers(link), strict=False))
