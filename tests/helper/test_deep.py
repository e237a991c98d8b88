"""A deep dive that a user asks of the helper: root's text, compiled with the helper's few rights, in a child."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from schedtui.backend.errors import BadMessage, Interrupted, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient
from tests.helper.running import ALLOWED, RunningHelper
from tests.probes.test_deep import MOUNTED, really

pytestmark = [really, pytest.mark.slow]


class Mounted(RunningHelper):
    """With the kernel's tracepoints in sight."""

    @property
    def command(self) -> list[str]:
        return [*MOUNTED, *super().command]


@pytest.fixture
def client() -> Iterator[HelperClient]:
    helper = Mounted("--allow", str(ALLOWED))
    try:
        helper.start()
        with contextlib.closing(helper.client()) as found:
            yield found
    finally:
        helper.close()


def test_a_user_without_rights_gets_what_was_counted(client: HelperClient) -> None:
    found = client.call(protocol.RunProbe("runqlat", 0, "", 0.5), 120).probe
    assert found is not None
    assert sum(found.slots) > 0
    assert found.rows
    assert found.events >= sum(found.slots)


def test_what_a_user_may_not_ask_for_is_refused_and_harms_nothing(client: HelperClient) -> None:
    for wrong in (("rm -rf", 0, "", 1.0), ("runqlat", 1 << 30, "", 1.0), ("runqlat", 0, "/../etc", 1.0)):
        with pytest.raises((BadMessage, UnknownName)):
            client.call(protocol.RunProbe(*wrong), 30)
    with pytest.raises(BadMessage):
        client.call(protocol.RunProbe("runqlat", 0, "", 1e9), 30)
    assert client.call(protocol.GetStatus()).status


def test_panic_ends_one_that_goes_on(client: HelperClient) -> None:
    ended: list[BaseException] = []

    def look() -> None:
        try:
            client.call(protocol.RunProbe("runqlat", 0, "", 60.0), 300)
        except Interrupted as error:
            ended.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    while not ended and looking.is_alive():  # one that came before the dive began has nothing to end
        client.call(protocol.DoPanic(), 30)
        looking.join(0.5)
    looking.join(60)
    assert "panic was pressed" in str(ended)
    client.call(protocol.Unlatch(), 30)
