"""On somebody's desktop: nothing is loaded without the helper's own proof, and what it proved is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.desktop import STATE, DesktopGuest
from tests.host.verifying import Verifier

pytestmark = pytest.mark.lab

BEGIN = """
import os
from pathlib import Path
from schedtui.backend.certifying import ask_helper
from schedtui.backend.deploy import compiled
from schedtui.backend.errors import SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.client import connect
from schedtui.backend.library.catalogue import load_library

policy = load_library().policies["fair"]
obj = compiled(policy)
said = []

def helper():
    client = connect(Path("/run/schedtui/helper.sock"))
    client.hello()
    return client

def load(obj, settings={}, token=""):
    memory = jobs.sealed(obj)
    try:
        asked = protocol.Load(name="fair", settings=settings, sealed=True, token=token)
        return client.call(asked, 60, fds=(memory,)).scheduler.name
    except SchedtuiError as error:
        return f"{error.kind}: {error.message}"
    finally:
        os.close(memory)

def prove(obj, settings={}):
    try:
        report = ask_helper(
            client, "fair", obj, settings, lambda words, _s: said.append(words), quick=True, generated=False
        )
        return report.verdict
    except SchedtuiError as error:
        return f"{error.kind}: {error.message}"

def tune(settings):
    try:
        client.call(protocol.Tune(settings))
    except SchedtuiError as error:
        return error.kind

client = helper()
"""


class Place:
    """The guest, with a helper and a verifier in it, and a person's connection to the helper."""

    def __init__(self, desktop: DesktopGuest) -> None:
        self.desktop = desktop
        desktop.start_helper("--allow", "1000")
        self.verifier: Verifier = desktop.start_verifier()
        desktop.user_python(BEGIN)

    def says(self, code: str) -> Any:
        return self.desktop.user_python(code)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with DesktopGuest() as desktop:
        yield Place(desktop)


def test_what_was_not_proven_is_not_loaded(place: Place) -> None:
    assert place.says("load(obj)").startswith("not-proven: ")
    assert place.desktop.state == "disabled"


def test_what_the_helper_proved_is_loaded_also_by_the_next_helper(place: Place) -> None:
    assert place.says("prove(obj)") in ("pass", "warn")
    assert any("stress" in each or "measur" in each for each in place.says("said")) or not place.verifier.judged
    asked = place.verifier.asked
    assert place.says("load(obj)") == "fair"
    assert place.desktop.ops == "fair"
    assert place.says("load(obj, {'slice_us': 777})").startswith("not-proven: ")
    place.desktop.kill_helper()
    place.desktop.start_helper("--allow", "1000")
    place.says("client = helper()")
    assert place.desktop.state == "disabled"
    assert place.says("load(obj)") == "fair"
    assert place.verifier.asked == asked
    place.says("client.call(protocol.Unload())")


def test_live_settings_that_were_not_proven_are_not_set(place: Place) -> None:
    place.says("prove(obj); load(obj)")
    assert place.says("tune({'slice_us': 900})") == "not-proven"
    place.says("client.call(protocol.Unload())")


def test_new_code_is_not_loaded_where_nobody_can_be_asked(place: Place) -> None:
    place.says("new = obj + b'\\0'")
    assert place.says("prove(new)").startswith("not-permitted: ")
    assert place.says("load(new)").startswith("not-proven: ")
    assert place.desktop.state == "disabled"


@pytest.mark.soak
@pytest.mark.matrix
def test_new_code_is_loaded_once_a_person_permitted_it(place: Place) -> None:
    place.desktop.write("/usr/bin/pkcheck", b'#!/bin/sh\necho "$@" >> /run/asked\n', mode=0o755)
    place.says("new = obj + b'\\0'")
    assert place.says("prove(new)") in ("pass", "warn")
    assert place.says("load(new)") == "fair"
    assert place.says("prove(new)") in ("pass", "warn")
    (asked,) = place.desktop.read("/run/asked").decode().splitlines()
    pid = place.says("os.getpid()")
    assert f"--action-id org.schedtui.load-generated --process {pid}," in asked
    assert asked.endswith("--allow-user-interaction")
    place.says("client.call(protocol.Unload())")


def test_a_token_of_another_key_or_a_changed_one_is_refused(place: Place) -> None:
    assert "damaged" in place.says("load(obj, {}, 'schedtui1.0.0.0')")
    place.says("memory = jobs.sealed(obj)")
    place.says("token = client.call(protocol.Prove(name='fair', quick=True), 120, fds=(memory,)).token")
    assert place.says("load(obj, {}, token)") == "fair"
    place.says("client.call(protocol.Unload())")
    assert "forged" in place.says("load(obj, {}, token[:-1] + ('0' if token[-1] != '0' else '1'))")
    place.desktop.kill_helper()
    place.desktop.run_as_root(["rm", f"{STATE}/key"]).good()
    place.desktop.start_helper("--allow", "1000")
    place.says("client = helper()")
    assert "another key" in place.says("load(obj, {}, token)")
    assert "another key" in place.says("load(obj)")
