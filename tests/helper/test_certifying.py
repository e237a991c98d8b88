"""A client has the real helper prove an object, through a real connection; a verifying process answers as told."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from schedtui.backend.certifying import ask_helper
from schedtui.backend.errors import BadMessage, HelperGone, Interrupted, NotPermitted, SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.jobs import Job
from schedtui.backend.model import Report
from schedtui.backend.probes.kernel_id import read_kernel_id
from schedtui.backend.verifier.edition import rules_version
from tests.helper.running import ALLOWED, RunningHelper
from tests.helper.verifying import DIGEST, OBJECT, Behaviour, Listening, answering, listening

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a helper is root"),
    pytest.mark.skipif(read_kernel_id() is None, reason="this kernel does not tell which it is"),
]


class Place:
    """A helper whose library holds OBJECT, and what verifies for it."""

    def __init__(self, helper: RunningHelper, listener: Listening) -> None:
        self.helper, self.listener = helper, listener
        self.client: HelperClient = helper.client(ALLOWED)
        self.said: list[str] = []

    def prove(self, obj: bytes = OBJECT) -> Report:
        return ask_helper(self.client, "fair", obj, {}, self._hear, quick=False, generated=False)

    def load(self, obj: bytes = OBJECT) -> str:
        """The kind of the error that it ends with: no kernel of ours takes this object."""
        memory = jobs.sealed(obj)
        try:
            self.client.call(protocol.Load("fair", sealed=True), fds=(memory,))
        except SchedtuiError as error:
            return error.kind
        finally:
            os.close(memory)
        return "loaded"

    def _hear(self, words: str, _seconds: float) -> None:
        self.said.append(words)


def passing() -> Behaviour:
    return answering(rules=rules_version(), kernel=read_kernel_id())


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with running() as helper:
        (helper.root / "var/lib/schedtui/library.json").write_text(json.dumps({DIGEST: "fair"}))
        with listening(helper.root / "run/schedtui/verify.sock", passing()) as listener:
            yield Place(helper, listener)


@contextlib.contextmanager
def running(key: bytes = b"") -> Iterator[RunningHelper]:
    """A helper; with a key that everybody may read when one is given."""
    helper = RunningHelper("--allow", str(ALLOWED))
    try:
        if key:
            (helper.root / "var/lib/schedtui/key").write_bytes(key)
            (helper.root / "var/lib/schedtui/key").chmod(0o644)
        helper.start()
        yield helper
    finally:
        helper.close()


def test_what_was_not_proven_is_refused_before_the_kernel_sees_it(place: Place) -> None:
    assert place.load(OBJECT + b"another") == "not-proven"


def test_a_client_gets_the_helpers_report_and_may_load_then(place: Place) -> None:
    report = place.prove()
    assert (report.verdict, report.digest) == ("pass", DIGEST)
    assert place.load() not in ("not-proven", "loaded")
    status = place.client.call(protocol.GetStatus()).status
    assert status is not None
    assert (status.tokens, status.proves) == (1, "")


def test_a_client_that_gives_up_ends_the_verification(place: Place) -> None:
    begun, hung_up = threading.Event(), threading.Event()

    def slow(link: socket.socket, _job: Job, _obj: bytes) -> None:
        begun.set()
        link.recv(1)
        hung_up.set()

    def give_up(_words: str, _seconds: float) -> None:
        if begun.is_set():
            raise Interrupted("Panic was pressed.")

    place.listener.behave = slow
    with pytest.raises(Interrupted, match="Panic was pressed"):
        ask_helper(place.client, "fair", OBJECT, {"x": 1}, give_up, quick=False, generated=False)
    assert hung_up.wait(10)
    place.listener.behave = passing()
    assert place.prove().verdict == "pass"


def test_a_client_that_dies_ends_the_verification(place: Place) -> None:
    begun, hung_up = threading.Event(), threading.Event()

    def slow(link: socket.socket, _job: Job, _obj: bytes) -> None:
        begun.set()
        link.recv(1)
        hung_up.set()

    place.listener.behave = slow
    other = place.helper.client(ALLOWED)

    def ask() -> None:
        with pytest.raises(HelperGone):
            ask_helper(other, "fair", OBJECT, {"x": 2}, lambda _words, _seconds: None, quick=False, generated=False)

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(10)
    other.close()
    assert hung_up.wait(10)
    asking.join(10)
    place.listener.behave = passing()


def test_new_code_is_refused_where_polkit_has_nobody_to_ask(place: Place) -> None:
    asked = place.listener.asked
    with pytest.raises(NotPermitted) as refused:
        place.prove(OBJECT + b"new")
    assert refused.value.remedy
    assert place.load(OBJECT + b"new") == "not-proven"
    assert place.listener.asked <= asked + 1


def test_an_object_that_could_still_be_changed_is_not_taken(place: Place) -> None:
    memory = os.memfd_create("object", os.MFD_ALLOW_SEALING)
    os.write(memory, OBJECT)
    with pytest.raises(BadMessage, match="not sealed"):
        place.client.call(protocol.Prove(name="fair"), fds=(memory,))
    with pytest.raises(BadMessage, match="did not come"):
        place.client.call(protocol.Prove(name="fair"))
    os.close(memory)


def test_a_helper_whose_key_cannot_be_trusted_serves_but_loads_nothing() -> None:
    with running(key=b"known to all") as helper:
        client = helper.client(ALLOWED)
        assert client.call(protocol.DoPanic()).panic is not None
        memory = jobs.sealed(OBJECT)
        for body in (protocol.Load("fair", sealed=True), protocol.Prove(name="fair")):
            with pytest.raises(NotPermitted, match="others may read or change it") as refused:
                client.call(body, fds=(memory,))
            assert "sudo rm" in refused.value.remedy
        status = client.call(protocol.GetStatus()).status
        assert status is not None
        assert "key" in status.proves
        os.close(memory)
