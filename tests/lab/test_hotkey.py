"""The global hot key: keys really pressed on the guest's keyboard, read through the kernel's own event device."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from schedtui.backend.lab import LabMachine
from tests.conftest import until
from tests.lab.keyboard import plug_in, press

pytestmark = pytest.mark.lab

LISTENING = """
import json, os, sys, time
sys.path.insert(0, "/schedtui")
from pathlib import Path
from schedtui.backend.helper.hotkey import HotKey, Keyboards

pressed = []
key = HotKey(lambda: pressed.append(time.monotonic()), Path("/tmp/hot-key"))
Keyboards.read = 0
original = os.read
def counted(descriptor, size):
    data = original(descriptor, size)
    if os.readlink(f"/proc/self/fd/{descriptor}").startswith("/dev/input"):
        Keyboards.read += len(data)
    return data
os.read = counted

def tell():
    now = {"keyboards": key.keyboards, "pressed": len(pressed), "read": Keyboards.read}
    Path("/tmp/told.new").write_text(json.dumps(now))
    os.replace("/tmp/told.new", "/tmp/told")

end = time.monotonic() + 150
while time.monotonic() < end and not Path("/tmp/end").exists():
    wanted = Path("/tmp/wanted")
    if wanted.exists() and (wanted.read_text() == "on") != key.on:
        key.turn(on=not key.on)
    tell()
    time.sleep(0.05)
"""


def told(lab: LabMachine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.run(["cat", "/tmp/told"], 10).output)
    return found


def turn(lab: LabMachine, word: str) -> None:
    lab.run(["sh", "-c", f"printf {word} > /tmp/wanted"], 10)


def test_only_the_combination_is_heard_and_only_while_it_is_on(lab: LabMachine) -> None:
    plug_in(lab)
    lab.run(["rm", "-f", "/tmp/told", "/tmp/end", "/tmp/wanted", "/tmp/hot-key"], 10)
    listening = threading.Thread(target=lab.run, args=(["python3", "-c", LISTENING], 200))
    listening.start()
    try:
        assert until(lambda: lab.run(["test", "-e", "/tmp/told"], 10).exit_code == 0), "it listens"
        press(lab, "meta_l", "shift", "f12")
        time.sleep(0.5)
        assert told(lab) == {"keyboards": 0, "pressed": 0, "read": 0}, "off until it is turned on"

        turn(lab, "on")
        assert until(lambda: told(lab)["keyboards"] == 1)
        for keys in (("a",), ("b", "c"), ("ret",)):
            press(lab, *keys)
        time.sleep(0.5)
        assert told(lab)["read"] == 0, "the kernel does not even pass on what else is typed"
        press(lab, "shift", "f12")
        press(lab, "meta_l", "f12")
        assert until(lambda: told(lab)["read"] > 0)
        assert told(lab)["pressed"] == 0
        press(lab, "meta_r", "shift_r", "f12")
        assert until(lambda: told(lab)["pressed"] == 1)

        turn(lab, "off")
        assert until(lambda: told(lab)["keyboards"] == 0)
        press(lab, "meta_l", "shift", "f12")
        time.sleep(0.5)
        assert told(lab)["pressed"] == 1
    finally:
        lab.run(["touch", "/tmp/end"], 10)
        listening.join()
