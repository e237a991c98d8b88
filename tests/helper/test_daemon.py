"""The helper of a host as its users meet it: whom it serves, what it refuses, and what nobody can do to the others."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedtui.backend.errors import BadMessage, NotPermitted, SchedtuiError
from schedtui.backend.helper import jobs, protocol
from schedtui.backend.helper.client import HelperClient
from schedtui.backend.helper.daemon import CANNOT_START, LIMITS, MOST_OF_A_USER, main
from schedtui.backend.host import HostMachine
from schedtui.backend.model import Event
from tests.conftest import quiet, until
from tests.helper.running import ALLOWED, STRANGER, RunningHelper, answers, as_user, line


@pytest.fixture(scope="module")
def helper() -> Iterator[RunningHelper]:
    """One for all: nothing that a client does may harm the next."""
    it = RunningHelper("--allow", str(ALLOWED))
    try:
        it.start()
        yield it
        assert it.process and it.process.poll() is None, "it lives through all of this"
    finally:
        it.close()


@pytest.fixture
def client(helper: RunningHelper) -> Iterator[HelperClient]:
    with contextlib.closing(helper.client()) as found:
        yield found


def test_a_user_who_is_not_allowed_is_told_so(helper: RunningHelper) -> None:
    with contextlib.closing(helper.client(STRANGER, greet=False)) as found, pytest.raises(NotPermitted) as refusal:
        found.hello()
    assert f"User {STRANGER} may not" in refusal.value.message
    assert "helper.toml" in refusal.value.remedy


def test_an_allowed_user_and_root_are_served(helper: RunningHelper) -> None:
    for uid in (ALLOWED, 0):
        with contextlib.closing(helper.client(uid)) as found:
            status = found.call(protocol.GetStatus()).status
            assert status is not None
            assert (status.version, status.allowed, status.pid) == (protocol.VERSION, (ALLOWED,), helper.pid)


def test_it_has_no_right_that_it_does_not_need(helper: RunningHelper, client: HelperClient) -> None:
    status = client.call(protocol.GetStatus()).status
    assert status is not None
    assert not [each for each in status.rights if each.isdigit()]
    fields = dict(
        each.split(":\t", 1) for each in Path(f"/proc/{helper.pid}/status").read_text().splitlines() if ":\t" in each
    )
    net_admin, sys_module, sys_rawio, sys_boot, sys_time = 12, 16, 17, 22, 25
    for given in ("CapPrm", "CapEff", "CapBnd"):
        for number in (net_admin, sys_module, sys_rawio, sys_boot, sys_time):
            assert not int(fields[given], 16) >> number & 1, (given, number)
    assert fields["NoNewPrivs"] == "1"


def test_each_of_its_threads_is_in_the_real_time_class(helper: RunningHelper) -> None:
    tasks = [int(each.name) for each in Path(f"/proc/{helper.pid}/task").iterdir()]
    classes = {}
    for each in tasks:
        with contextlib.suppress(ProcessLookupError):  # one that spoke with a client that is gone
            classes[each] = os.sched_getscheduler(each) & ~os.SCHED_RESET_ON_FORK
    assert set(classes.values()) == {os.SCHED_FIFO}, classes


def test_it_is_in_no_network(helper: RunningHelper) -> None:
    devices = Path(f"/proc/{helper.pid}/net/dev").read_text().splitlines()[2:]
    assert [each.split(":")[0].strip() for each in devices] == ["lo"]


@pytest.mark.parametrize(
    "body",
    [
        protocol.Run(["id"], 5),
        protocol.StartWorkload("hogs"),
        protocol.PutFile("/etc/passwd", 0, b"x"),
        protocol.StartProgram(name="x", path="/bin/true", arguments=(), digest=""),
        protocol.Load("fair", b"\x7fELF"),
        protocol.Load("fair", sealed=True),
    ],
    ids=["command", "load", "file", "program", "object-in-message", "no-object"],
)
def test_it_does_nothing_for_a_client_but_what_it_is_there_for(client: HelperClient, body: protocol.Body) -> None:
    with pytest.raises(BadMessage):
        client.call(body)


@contextlib.contextmanager
def descriptor(kind: str) -> Iterator[int]:
    """A file that no honest client sends as an object."""
    with contextlib.ExitStack() as undo:
        if kind == "device":
            found = os.open("/dev/zero", os.O_RDONLY)
        elif kind == "pipe":
            found, other = os.pipe()
            undo.callback(os.close, other)
        elif kind == "file":
            found = os.dup(undo.enter_context(tempfile.TemporaryFile()).fileno())
            os.write(found, b"\x7fELF")
        elif kind == "unsealed":
            found = os.memfd_create("object", os.MFD_ALLOW_SEALING)
            os.write(found, b"\x7fELF")
        elif kind == "empty":
            found = jobs.sealed(b"")
        else:
            found = jobs.sealed(bytes(jobs.MAX_OBJECT_BYTES + 1))
        undo.callback(os.close, found)
        yield found


@pytest.mark.parametrize("kind", ["device", "pipe", "file", "unsealed", "empty", "giant"])
def test_an_object_is_taken_from_a_sealed_memory_file_alone(client: HelperClient, kind: str) -> None:
    with descriptor(kind) as found, pytest.raises(BadMessage):
        client.call(protocol.Load("fair", sealed=True), fds=(found,))


def test_what_was_never_proven_is_not_loaded(client: HelperClient) -> None:
    memory = jobs.sealed(b"\x7fELF")
    with pytest.raises(SchedtuiError) as refusal:
        client.call(protocol.Load("fair", sealed=True), fds=(memory,))
    os.close(memory)
    assert refusal.value.kind in ("not-proven", "not-permitted", "kernel-unsuitable")


def test_more_files_than_a_message_takes_end_the_connection_and_leave_none(helper: RunningHelper) -> None:
    before = open_files(helper)
    with helper.raw() as link, descriptor("pipe") as found:
        socket.send_fds(link, [line(protocol.Hello(protocol.VERSION, 0))], [found] * 200)
        said = [each.failure.message for each in answers(link) if each.failure]
    assert said == ["More files came than messages that take one."]
    assert until(lambda: open_files(helper) <= before)


def open_files(helper: RunningHelper) -> int:
    return len(list(Path(f"/proc/{helper.pid}/fd").iterdir()))


def test_two_clients_at_once_see_every_event(helper: RunningHelper, client: HelperClient) -> None:
    with contextlib.closing(helper.client(0)) as other:
        streams = [client.frames(0.1), other.frames(0.1)]
        for each in streams:
            next(each)
        client.call(protocol.DoPanic())
        for each in streams:
            assert any(event.text.startswith("PANIC") for event in events(each))
        other.call(protocol.Unlatch())
        for each in streams:
            assert any("released" in event.text for event in events(each))
            each.close()  # type: ignore[attr-defined]


def events(frames: Iterator[object]) -> Iterator[Event]:
    for _, frame in zip(range(50), frames, strict=False):
        yield from frame.events  # type: ignore[attr-defined]


def test_a_client_of_another_version_is_told_so(helper: RunningHelper) -> None:
    with helper.raw() as link:
        link.sendall(line(protocol.Hello(protocol.VERSION - 1, 0)) + line(protocol.GetStatus(), 2))
        told = [each.failure for _, each in zip(range(2), answers(link), strict=False)]
    assert told[0] and "version" in told[0].message and "Update" in told[0].remedy
    assert told[1] and "hello" in told[1].message


def test_panic_needs_no_greeting(helper: RunningHelper, client: HelperClient) -> None:
    with contextlib.closing(helper.client(greet=False)) as found:
        assert found.call(protocol.DoPanic()).panic
    client.call(protocol.Unlatch())


def test_a_message_without_end_is_dropped_and_the_next_one_answered(helper: RunningHelper) -> None:
    with helper.raw() as link:
        link.sendall(line(protocol.Hello(protocol.VERSION, 0)))
        link.sendall(b"x" * (LIMITS.message_bytes + 70_000) + b"\n" + line(protocol.GetScheduler(), 7))
        told = [each for _, each in zip(range(3), answers(link), strict=False)]
    assert told[1].failure and "longer than" in told[1].failure.message
    assert told[2].id == 7 and told[2].scheduler


def test_a_flood_and_a_client_that_does_not_read_keep_nobody_waiting(
    helper: RunningHelper, client: HelperClient
) -> None:
    with helper.raw() as flooding, helper.raw() as deaf:
        hello = line(protocol.Hello(protocol.VERSION, 0))
        deaf.sendall(hello + line(protocol.Subscribe(0.1)))
        flooding.sendall(hello)
        flooding.setblocking(False)
        flood = line(protocol.GetStatus(), 3) * 3000
        with contextlib.suppress(BlockingIOError):
            flooding.sendall(flood)
        assert client.call(protocol.DoPanic(), 5).panic
        client.call(protocol.Unlatch(), 5)
        assert client.call(protocol.GetScheduler(), 5).scheduler


@pytest.mark.slow
def test_strangers_who_knock_without_end_keep_no_user_out(helper: RunningHelper) -> None:
    knocked = subprocess.Popen(
        [sys.executable, "-c", KNOCKING, str(helper.socket), str(STRANGER)], stdout=subprocess.PIPE
    )
    try:
        assert knocked.stdout and knocked.stdout.readline()
        for _ in range(5):
            assert served(helper)
    finally:
        knocked.kill()
        knocked.wait()
        assert knocked.stdout
        knocked.stdout.close()


KNOCKING = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
print("knocking", flush=True)
while True:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(sys.argv[1])
"""


def test_clients_that_vanish_leave_nothing(helper: RunningHelper, client: HelperClient) -> None:
    before = open_files(helper)
    for number in range(40):
        with helper.raw() as link:
            whole = (
                line(protocol.Hello(protocol.VERSION, 0)) + line(protocol.Subscribe(0.1)) + line(protocol.GetStatus())
            )
            with contextlib.suppress(BrokenPipeError):  # turned away, while many of those before are still leaving
                link.sendall(whole[: 5 * number])

    assert until(lambda: sessions(client) == 1 and open_files(helper) <= before + 2, 10), open_files(helper)


def sessions(client: HelperClient) -> int:
    status = client.call(protocol.GetStatus()).status
    assert status is not None
    return status.sessions


def test_one_user_takes_not_all_places_and_root_always_has_one(helper: RunningHelper) -> None:
    with contextlib.closing(helper.client(0)) as root:
        assert until(lambda: sessions(root) == 1, 10), "those of the tests before have gone"
    with contextlib.ExitStack() as held:
        for _ in range(MOST_OF_A_USER):
            held.enter_context(contextlib.closing(helper.client()))
        with contextlib.closing(helper.client(greet=False)) as more, pytest.raises(NotPermitted, match="no more"):
            more.hello()
        with contextlib.closing(helper.client(0)) as root:
            assert root.call(protocol.GetScheduler()).scheduler
    assert until(lambda: served(helper), 10), "places are free again"


def served(helper: RunningHelper) -> bool:
    with contextlib.closing(helper.client(greet=False)) as found, contextlib.suppress(SchedtuiError):
        return found.hello().info is not None
    return False


@pytest.mark.slow
def test_a_second_helper_leaves_the_first_alone(helper: RunningHelper) -> None:
    assert helper.refused() == (
        CANNOT_START,
        "schedtui: the helper was not started. A helper runs already. Start schedtui: it finds it by itself.\n",
    )
    assert served(helper)


def test_a_socket_of_another_user_is_no_helper() -> None:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        Path(folder).chmod(0o777)
        path = Path(folder, "run/schedtui")
        path.mkdir(parents=True)
        path.chmod(0o777)
        with as_user(STRANGER):
            listening.bind(str(path / "helper.sock"))
            listening.listen()
        for each in ("proc", "sys"):
            Path(folder, each).symlink_to(f"/{each}")
        machine = HostMachine(Path(folder))
        assert not machine.open(quiet).can_load
        assert machine.scheduler().name
        machine.close()


def test_the_host_machine_asks_the_helper(helper: RunningHelper) -> None:
    machine = HostMachine(helper.root)
    with contextlib.closing(machine), as_user(ALLOWED):
        machine.open(quiet)
        frames = machine.frames(0.1)
        next(frames)
        panic = machine.panic()
        assert panic.scheduler.latched and machine.scheduler().latched
        assert any(event.text.startswith("PANIC") for event in events(frames))
        machine.unlatch()
        assert not machine.scheduler().latched
        assert machine.sample().source
        with pytest.raises(SchedtuiError):
            machine.load("fair", b"\x7fELF", {})
        frames.close()  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_host_machine_watches_on_when_the_helper_dies_and_finds_the_next_one() -> None:
    it = RunningHelper("--allow", str(ALLOWED))
    machine = HostMachine(it.root)
    try:
        it.start()
        machine.open(quiet)
        frames = machine.frames(0.2)
        next(frames)
        os.kill(it.pid, signal.SIGKILL)
        assert any("went away" in event.text for event in events(frames))
        assert not machine.scheduler().latched
        assert it.process
        it.process.wait(10)
        it.socket.unlink()
        it.start()
        assert until(lambda: bool(next(frames)) and served(it), 10)
        assert until(lambda: machine.panic().scheduler.latched, 10)
    finally:
        machine.close()
        it.close()


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("allow = [1000]", 0o666, "Others than root can write"),
        ("allow = 1000", 0o644, "list of user ids"),
        ("allow = [-1]", 0o644, "list of user ids"),
        ("allow = [", 0o644, "cannot be read"),
        ("allow = ['root']", 0o644, "list of user ids"),
    ],
    ids=["writable", "number", "negative", "broken", "words"],
)
def test_a_configuration_that_cannot_be_trusted_starts_nothing(
    content: str, mode: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "etc/schedtui/helper.toml"
    config.parent.mkdir(parents=True)
    config.write_text(content)
    config.chmod(mode)
    assert main(["--root", str(tmp_path)]) == CANNOT_START
    assert said in capsys.readouterr().err


AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.slow
def test_it_takes_the_socket_that_systemd_listens_at_and_leaves_it_there() -> None:
    it = RunningHelper()
    try:
        (it.root / "etc/schedtui/helper.toml").write_text(f"allow = [{ALLOWED}]")
        (it.root / "etc/schedtui/helper.toml").chmod(0o644)
        it.socket.parent.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            listening.bind(str(it.socket))
            it.socket.chmod(0o666)
            listening.listen()
            number = listening.fileno()
            it.process = subprocess.Popen(
                [sys.executable, "-c", AS_SYSTEMD, str(number), *it.command],
                pass_fds=(number,),
                stderr=subprocess.PIPE,
                text=True,
            )
        assert served(it)
        it.process.terminate()
        assert it.process.wait(20) == 0
        assert it.socket.exists()
    finally:
        it.close()
