"""Who runs what, asked of a helper over its protocol: taking over, giving back, making permanent, putting back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import BadTunable, NotPermitted, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.handlers import Handling
from schedtui.backend.helper.others import Others
from schedtui.backend.helper.ownership import Ownership
from schedtui.backend.helper.permanent import Permanent
from schedtui.backend.helper.server import Server
from schedtui.backend.helper.session import Limits, SocketChannel
from schedtui.backend.model import MachineInfo, OthersStatus
from schedtui.backend.probes.sampler import Samplers
from schedtui.backend.probes.scx_loader import Bus
from schedtui.backend.programs import arguments_of, read_entry
from schedtui.paths import shipped
from tests.helper.loader_on_a_bus import SUPPORTED, LoaderOnABus, put_programs
from tests.probes.trees import write

INFO = MachineInfo(
    kind="host", name="here", kernel="6.18.0", sched_ext=False, default_scheduler="EEVDF", can_load=False
)


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[LoaderOnABus]:
    with LoaderOnABus(tmp_path, put_programs(tmp_path / "bin", *SUPPORTED)) as bus:
        yield bus


@pytest.fixture
def client(tmp_path: Path, loader: LoaderOnABus) -> Iterator[HelperClient]:
    """Of a helper whose computer has an scx_loader."""
    bus = Bus(loader.address)
    here, there = socket.socketpair()
    handling = Handling()
    server = handling.server = Server(INFO, Samplers(None))
    others, permanent = Others(tmp_path, bus=bus), Permanent(tmp_path, root=tmp_path, bus=bus)
    ownership = Ownership(server.control, others, permanent, shipped("library"))
    server.answer_by({**handling.common(), **ownership.handlers()})
    server.add(SocketChannel(there), Limits())
    threading.Thread(target=server.run, daemon=True).start()
    it = HelperClient(here)
    it.hello()
    yield it
    it.close()
    server.close()


def asked(client: HelperClient, body: protocol.Body) -> OthersStatus:
    reply = client.call(body)
    assert reply.others
    return reply.others


def test_what_runs_is_taken_over_and_given_back(loader: LoaderOnABus, client: HelperClient) -> None:
    loader.start("scx_bpfland", mode=1)
    (other,) = asked(client, protocol.GetOthers()).others
    assert (other.name, other.what) == ("scx_loader", "scx_bpfland in gaming mode")
    taken = asked(client, protocol.TakeOver())
    assert taken.told == ("scx_loader was stopped; it ran scx_bpfland in gaming mode",)
    assert [each.what for each in taken.taken] == ["scx_bpfland in gaming mode"]
    back = asked(client, protocol.GiveBack())
    assert (back.taken, loader.scheduler, loader.mode) == ((), "scx_bpfland", 1)
    with pytest.raises(NotPermitted):
        client.call(protocol.GiveBack())


def test_a_schedulers_mode_of_the_library_is_made_permanent_and_put_back(tmp_path: Path, client: HelperClient) -> None:
    write(tmp_path, {"usr/lib/systemd/system/scx_loader.service": "", "etc/scx_loader.toml": "# mine\n"})
    wanted = protocol.MakePermanent(name="scx_bpfland", goal="audio", preview=True)
    shown = client.call(wanted).permanent
    assert shown
    entry = read_entry(shipped("library"), "scx_bpfland")
    flags = ", ".join(f'"{each}"' for each in arguments_of(entry.mode, entry.tunable, "audio", {}))
    assert f"+lowlatency_mode = [{flags}]\n" in shown.diff
    assert (tmp_path / "etc/scx_loader.toml").read_text() == "# mine\n"
    client.call(protocol.MakePermanent(name="scx_bpfland", goal="audio", preview=False))
    assert 'default_mode = "LowLatency"' in (tmp_path / "etc/scx_loader.toml").read_text()
    assert asked(client, protocol.GetOthers()).undoable
    client.call(protocol.UndoPermanent(preview=False))
    assert (tmp_path / "etc/scx_loader.toml").read_text() == "# mine\n"


def test_only_a_scheduler_and_settings_of_the_library_are_made_permanent(tmp_path: Path, client: HelperClient) -> None:
    write(tmp_path, {"usr/lib/systemd/system/scx_loader.service": ""})
    with pytest.raises(UnknownName):
        client.call(protocol.MakePermanent(name="../../etc/passwd", preview=False))
    with pytest.raises(BadTunable):
        client.call(protocol.MakePermanent(name="scx_bpfland", settings={"exec": "/bin/sh"}, preview=False))
    assert not (tmp_path / "etc").exists()
