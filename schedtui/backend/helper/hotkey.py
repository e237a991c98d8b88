"""Panic by a key combination that the helper itself reads from every keyboard, because a starved desktop delivers none.

Off until a user turns it on. While it is on, the kernel is told to pass on five keys of each keyboard and nothing else
(EVIOCSMASK), and of these only what is held down right now is known, in memory. Source of the formats:
linux/input.h and linux/input-event-codes.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from schedtui.backend.helper.control import become_realtime

DEVICES = Path("/dev/input")
COMBINATION = "Super+Shift+F12"
"""F12 as in the terminal program, with Super, which programs leave to the desktop; GNOME, KDE, Xfce and Sway bind
nothing to it, and Ctrl+Alt+F12 would change to another console. It takes both hands."""
F12, LEFT_SHIFT, RIGHT_SHIFT, LEFT_SUPER, RIGHT_SUPER = 88, 42, 54, 125, 126
_SHIFTS, _SUPERS = {LEFT_SHIFT, RIGHT_SHIFT}, {LEFT_SUPER, RIGHT_SUPER}
_KEYS = {F12} | _SHIFTS | _SUPERS
_EV_SYN, _EV_KEY, _SYN_DROPPED = 0, 1, 3
_RELEASED, _PRESSED = 0, 1
EVENT = struct.Struct("llHHi")
"""struct input_event: seconds, microseconds, type, code, value."""
_KEY_BYTES = 0x2FF // 8 + 1
_TYPE_BYTES = 8
"""A mask is a whole number of longs."""
_MASK = struct.Struct("IIQ")
_READ = 2 << 30
_EVIOCGKEY = _READ | _KEY_BYTES << 16 | ord("E") << 8 | 0x18
_EVIOCGBIT_KEY = _READ | _KEY_BYTES << 16 | ord("E") << 8 | (0x20 + _EV_KEY)
_EVIOCSMASK = 1 << 30 | _MASK.size << 16 | ord("E") << 8 | 0x93
_RESCAN_S = 2.0


class Keyboards:
    """Every keyboard of the computer. For one thread."""

    def __init__(self, folder: Path = DEVICES) -> None:
        self._folder = folder
        self._held: dict[int, set[int]] = {}
        """Which of the five keys are down, of each open keyboard."""
        self._names: dict[str, int] = {}
        """Descriptors; -1 for what is no keyboard."""
        self._poll = select.poll()

    @property
    def count(self) -> int:
        """How many are listened to."""
        return len(self._held)

    def find(self) -> None:
        """Begin to listen to what was plugged in since, and forget what is gone."""
        try:
            there = {each.name for each in os.scandir(self._folder) if each.name.startswith("event")}
        except OSError:
            there = set()
        for name in set(self._names) - there:
            self._forget(name)
        for name in there - set(self._names):
            with contextlib.suppress(OSError):  # not there any more, or not ready yet: the next time
                self._names[name] = self._open(self._folder / name)

    def pressed(self, limit_s: float) -> bool:
        """Wait for the combination, for so long at most."""
        found = False
        for descriptor, _ in self._poll.poll(limit_s * 1000):
            try:
                data = os.read(descriptor, EVENT.size * 64)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._forget(next(name for name, each in self._names.items() if each == descriptor))
                continue
            for _, _, kind, code, value in EVENT.iter_unpack(data[: len(data) // EVENT.size * EVENT.size]):
                found |= self._take(descriptor, kind, code, value)
        return found

    def close(self) -> None:
        """Listen to none."""
        for name in list(self._names):
            self._forget(name)

    def _take(self, descriptor: int, kind: int, code: int, value: int) -> bool:
        held = self._held[descriptor]
        if (kind, code) == (_EV_SYN, _SYN_DROPPED):
            self._held[descriptor] = _down(descriptor)
        elif kind == _EV_KEY and code in _KEYS:
            (held.discard if value == _RELEASED else held.add)(code)
            down = set().union(*self._held.values())
            return value == _PRESSED and F12 in down and bool(down & _SHIFTS) and bool(down & _SUPERS)
        return False

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not _is_keyboard(descriptor):
                os.close(descriptor)
                return -1
            _pass_on_only_ours(descriptor)
            self._held[descriptor] = _down(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._poll.register(descriptor, select.POLLIN)
        return descriptor

    def _forget(self, name: str) -> None:
        descriptor = self._names.pop(name)
        if descriptor >= 0:
            del self._held[descriptor]
            self._poll.unregister(descriptor)
            os.close(descriptor)


class HotKey:
    """Listens while it is on, and then calls ``panic`` from its own thread, which is in the real-time class.

    ``setting`` is the file whose presence means on; only root can write it.
    """

    def __init__(self, panic: Callable[[], object], setting: Path, folder: Path = DEVICES) -> None:
        self._panic = panic
        self._setting = setting
        self._folder = folder
        self._changed = threading.Event()
        self.on = setting.exists()
        self.keyboards = 0
        """How many it listens to."""
        if self.on:
            self._changed.set()
        threading.Thread(target=self._listen, name="hot-key", daemon=True).start()

    def turn(self, *, on: bool) -> None:
        """On or off, also after a restart. Raises OSError when that cannot be written down; nothing changes then."""
        if on:
            self._setting.touch(mode=0o600)
        else:
            self._setting.unlink(missing_ok=True)
        self.on = on
        self._changed.set()

    def _listen(self) -> None:
        become_realtime()
        while True:
            self._changed.wait()
            self._changed.clear()
            keyboards = Keyboards(self._folder)
            looked = 0.0
            while self.on:
                if (now := time.monotonic()) - looked >= _RESCAN_S:
                    looked = now
                    keyboards.find()
                    self.keyboards = keyboards.count
                if keyboards.pressed(_RESCAN_S) and self.on:
                    self._panic()
            keyboards.close()
            self.keyboards = 0


def _is_keyboard(descriptor: int) -> bool:
    keys = bytearray(_KEY_BYTES)
    fcntl.ioctl(descriptor, _EVIOCGBIT_KEY, keys)
    return any(_bit(keys, each) for each in _KEYS)


def _pass_on_only_ours(descriptor: int) -> None:
    """Through this descriptor the kernel delivers these keys alone, and nothing else that was pressed."""
    for kind, wanted, size in ((_EV_SYN, {_EV_SYN, _EV_KEY}, _TYPE_BYTES), (_EV_KEY, _KEYS, _KEY_BYTES)):
        bits = bytearray(size)
        for each in wanted:
            bits[each // 8] |= 1 << each % 8
        codes = (ctypes.c_char * size).from_buffer(bits)
        fcntl.ioctl(descriptor, _EVIOCSMASK, _MASK.pack(kind, size, ctypes.addressof(codes)))


def _down(descriptor: int) -> set[int]:
    keys = bytearray(_KEY_BYTES)
    fcntl.ioctl(descriptor, _EVIOCGKEY, keys)
    return {each for each in _KEYS if _bit(keys, each)}


def _bit(of: bytearray, number: int) -> bool:
    return bool(of[number // 8] >> number % 8 & 1)
