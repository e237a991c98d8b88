"""What a server announces of its clients to the screens of its user, and what a person there may want of it.

Sockets and servers are real; a hostile watcher is a socket that behaves badly. What is done to a machine is tried in
test_live_lab.py.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from schedtui import announced
from schedtui.agent.events import Answered, Asked, Called, Measured, Question, Returned, Warned
from schedtui.announced import (
    LONGEST_WISH,
    Answer,
    CaughtUp,
    ClientSeen,
    Disconnect,
    Done,
    Gone,
    Happened,
    Hello,
    Here,
    News,
    Seen,
    TakeBack,
    Wish,
    line_of,
    news_of,
)
from schedtui.backend.errors import BadFile, NotPermitted
from schedtui.backend.model import Comparison, Metric
from schedtui.mcp.announce import MOST_WISHES, PAST_EVENTS, Announcer
from tests.cli.commands import COMMAND, schedtui
from tests.conftest import until

WHO = ClientSeen(id=1, name="claude-code", label="Claude Code", since=1000.0)
TRY = Question(
    id="try-1",
    kind="try",
    title="Try brisk?",
    text="It goes first.",
    choices=(("yes", "Try it"), ("no", "Leave everything as it is")),
    policy="brisk",
)


class Person:
    """Hands that note what is wanted, and can be slow."""

    def __init__(self) -> None:
        self.wanted: list[tuple[object, ...]] = []
        self.wait: Callable[[], object] = lambda: None

    def answer(self, client: int, question: str, choice: str) -> str:
        self.wanted.append(("answer", client, question, choice))
        return "It was told."

    def take_back(self, client: int | None) -> str:
        self.wait()
        self.wanted.append(("take-back", client))
        return "Taken back."

    def give_back(self, client: int | None) -> str:
        raise NotPermitted("It was never taken.", "Take it first.")

    def disconnect(self, client: int) -> str:
        raise RuntimeError("a fault of ours")


class Watcher:
    """Somebody who watches."""

    def __init__(self, path: Path) -> None:
        link = announced.connect(path)
        assert link is not None
        link.settimeout(60)
        self.link = link
        self._lines = announced.Lines(announced.LONGEST_NEWS)
        self._news: list[News] = []
        self.seen: list[News] = []

    def read(self, kind: type[News]) -> Any:
        """The next of this kind; what came before it is in ``seen``."""
        while True:
            while self._news:
                news = self._news.pop(0)
                self.seen.append(news)
                if isinstance(news, kind):
                    return news
            data = self.link.recv(1 << 16)
            assert data, "the server hung up"
            self._news = [news_of(line) for line in self._lines.add(data)]

    def want(self, wish: Wish) -> None:
        """Say it."""
        self.link.sendall(line_of(wish))

    def is_dropped(self) -> bool:
        """Whether the server hung up; blocks until it did."""
        try:
            while self.link.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders, with a name too long for the kernel's sockets."""
    runtime = tmp_path / ("a-folder-with-a-long-name-" * 5)
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    for name in ("config", "data"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    return runtime


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def server(person: Person) -> Iterator[Announcer]:
    """An announcing server."""
    announcer = Announcer("lab", person)
    announcer.start()
    yield announcer
    announcer.close()


@pytest.fixture
def watch(server: Announcer) -> Iterator[Callable[[], Watcher]]:
    """Watchers of it, hung up in the end."""
    watchers: list[Watcher] = []

    def come() -> Watcher:
        assert server.path is not None
        watchers.append(Watcher(server.path))
        return watchers[-1]

    yield come
    for each in watchers:
        each.link.close()


Watch = Callable[[], Watcher]


def called(title: str) -> Called:
    return Called(at_s=1.0, role="observe", tool="processes", arguments={"secret": "x" * 100}, title=title)


def measured(after: float) -> Measured:
    metric = Metric(name="wakeup_p99_us")
    return Measured(
        at_s=2.0, comparison=Comparison(metric=metric, verdict="better", before=10.0, after=after), side="after"
    )


# What is told


def test_who_comes_is_told_who_is_there_and_what_they_did(server: Announcer, watch: Watch) -> None:
    server.seen(WHO)
    server.happened(1, called("Looks at the programs"))
    watcher = watch()
    hello = watcher.read(Hello)
    assert (hello.machine, hello.pid, hello.version) == ("lab", os.getpid(), announced.VERSION)
    watcher.read(CaughtUp)
    assert [each.client for each in watcher.seen if isinstance(each, Seen)] == [WHO]
    assert [each.event.title for each in watcher.seen if isinstance(each, Happened)] == ["Looks at the programs"]


def test_what_happens_is_told_as_it_happens(server: Announcer, watch: Watch) -> None:
    watcher = watch()
    watcher.read(CaughtUp)
    server.seen(WHO)
    server.happened(1, called("Looks at the programs"))
    server.happened(1, Asked(at_s=2.0, question=TRY))
    server.gone(1, "It left.")
    assert watcher.read(Seen).client.name == "claude-code"
    assert watcher.read(Happened).event.title == "Looks at the programs"
    assert watcher.read(Happened).event.question == TRY
    assert watcher.read(Gone).why == "It left."


def test_arguments_are_not_told(server: Announcer, watch: Watch) -> None:
    server.seen(WHO)
    server.happened(1, called("Looks at the programs"))
    assert watch().read(Happened).event.arguments == {}


def test_what_is_too_long_is_told_in_short_and_a_question_can_still_be_answered(
    server: Announcer, watch: Watch
) -> None:
    watcher = watch()
    server.seen(WHO)
    long = Question(id="try-2", kind="try", title="Try it?", text="t", choices=TRY.choices, source="\x01" * 400_000)
    server.happened(1, Asked(at_s=2.0, question=long))
    server.happened(1, Answered(at_s=3.0, question_id="q" * 2_000_000, choice="no", by="setting"))
    question = watcher.read(Happened).event.question
    assert (question.id, question.choices, question.source) == ("try-2", TRY.choices, "")
    assert isinstance(watcher.read(Happened).event, Warned)


def test_a_measurement_is_remembered_as_it_was_last_and_little_is_remembered(server: Announcer, watch: Watch) -> None:
    server.seen(WHO)
    for each in (9.0, 8.0, 7.0):
        server.happened(1, measured(each))
    watcher = watch()
    watcher.read(CaughtUp)
    assert [each.event.comparison.after for each in watcher.seen if isinstance(each, Happened)] == [7.0]
    for number in range(PAST_EVENTS + 50):
        server.happened(1, called(f"Looks again, {number}"))
    late = watch()
    late.read(CaughtUp)
    told = [each.event.title for each in late.seen if isinstance(each, Happened)]
    assert len(told) <= PAST_EVENTS
    assert told[-1] == f"Looks again, {PAST_EVENTS + 49}"


# What is wanted


def test_an_answer_reaches_the_server_and_comes_back_with_its_number(
    watch: Watch, person: Person, server: Announcer
) -> None:
    watcher = watch()
    watcher.want(Answer(number=7, client=1, question="try-1", choice="yes"))
    assert watcher.read(Done) == Done(number=7, ok=True, text="It was told.")
    assert person.wanted == [("answer", 1, "try-1", "yes")]


def test_what_cannot_be_done_is_said_with_its_remedy_and_a_fault_of_ours_too(watch: Watch) -> None:
    watcher = watch()
    watcher.want(announced.GiveBack(number=1))
    assert watcher.read(Done) == Done(number=1, ok=False, text="It was never taken. Take it first.")
    watcher.want(Disconnect(number=2, client=1))
    refused = watcher.read(Done)
    assert (refused.number, refused.ok) == (2, False)
    assert "schedtui ra" in refused.text


def test_somebody_can_be_asked_only_while_a_screen_is_there(server: Announcer, watch: Watch) -> None:
    assert not server.attended
    watcher = watch()
    watcher.read(CaughtUp)
    assert not server.attended, "who only looks cannot be asked"
    watcher.want(Here())
    assert until(lambda: server.attended)
    watcher.link.close()
    assert until(lambda: not server.attended)


# Hostile watchers


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b'{"wish":"panic"}\n',
        b'{"wish":"answer","client":"one","question":1,"choice":null}\n',
        b'{"wish":"here","more":1}\n',
        b"[" * 10_000 + b"\n",
        b"\xff\xfe\n",
        b"x" * (LONGEST_WISH + 1),
    ],
    ids=["http", "unknown", "types", "field", "nested", "bytes", "long"],
)
def test_who_makes_no_sense_is_dropped_and_the_others_stay(
    server: Announcer, watch: Watch, person: Person, garbage: bytes
) -> None:
    good, bad = watch(), watch()
    bad.link.sendall(garbage)
    assert bad.is_dropped()
    server.seen(WHO)
    assert good.read(Seen).client == WHO
    assert person.wanted == []


@pytest.mark.slow
def test_who_never_reads_is_dropped_and_nobody_waits_for_them(server: Announcer, watch: Watch) -> None:
    deaf, good = watch(), watch()
    server.seen(WHO)
    text = "x" * 7000
    for number in range(1600):
        server.happened(1, Returned(at_s=1.0, role="plan", tool="t", ok=True, summary=str(number), details=text))
        good.read(Happened)
    assert deaf.is_dropped()


def test_a_flood_of_wishes_is_refused_and_the_server_goes_on(server: Announcer, watch: Watch, person: Person) -> None:
    gate = threading.Event()
    person.wait = gate.wait
    watcher = watch()
    for number in range(MOST_WISHES + 20):
        watcher.want(TakeBack(number=number))
    refused = [watcher.read(Done) for _ in range(20)]
    assert {(each.ok, each.text) for each in refused} == {(False, "Too much is wanted at once.")}
    gate.set()
    assert [watcher.read(Done).ok for _ in range(MOST_WISHES)] == [True] * MOST_WISHES


@pytest.mark.skipif(os.getuid() != 0, reason="only root can come as another user")
def test_another_user_is_refused_even_where_the_folder_lets_them_in(server: Announcer, watch: Watch) -> None:
    """A child connects as nobody; its file accesses are still root's, so that only who it is can keep it out."""
    assert server.path is not None
    libc = ctypes.CDLL(None)
    child = os.fork()
    if child == 0:
        said = 9
        try:
            os.seteuid(65534)
            libc.setfsuid(0)
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.settimeout(60)
            with announced.short(server.path) as name:
                link.connect(name)
            said = 0 if link.recv(100) == b"" else 1
        finally:
            os._exit(said)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert watch().read(Hello).pid == os.getpid()


# Where they lie


def test_the_folder_is_for_its_user_alone_and_the_socket_goes_with_the_server(server: Announcer, folders: Path) -> None:
    assert server.path is not None
    assert server.path.parent == folders / "schedtui" / "mcp"
    assert server.path.parent.stat().st_mode & 0o777 == 0o700
    assert announced.announced() == [server.path]
    server.close()
    assert announced.announced() == []


def test_without_a_runtime_folder_the_data_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Person
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    announcer = Announcer("host", person)
    announcer.start()
    assert announcer.path is not None
    assert announcer.path.parent == tmp_path / "data" / "schedtui" / "mcp"
    assert Watcher(announcer.path).read(Hello).machine == "host"
    announcer.close()


def test_where_there_is_no_place_for_a_socket_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, person: Person
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(BadFile, match="No screen can show"):
        Announcer("host", person).start()


def test_a_socket_that_a_killed_server_left_is_cleared_away(folders: Path) -> None:
    program = (
        "import os, sys\nfrom schedtui.mcp.announce import Announcer\n"
        "Announcer('lab', None).start(); print(flush=True); sys.stdin.read()"
    )
    killed = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    killed.stdout.readline()
    (left,) = announced.announced()
    killed.kill()
    killed.communicate()
    assert announced.connect(left) is None
    assert announced.announced() == []


# A real server


class Agent:
    """A program that started a server as its client, and speaks the protocol by hand."""

    def __init__(self, *options: str) -> None:
        self.server = subprocess.Popen(
            [str(COMMAND), "mcp", "--as", "claude-code", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._number = 0
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "T", "version": "1"})
        self._send(jsonrpc="2.0", method="notifications/initialized")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """A request, and its result."""
        self._number += 1
        self._send(jsonrpc="2.0", id=self._number, method=method, params=params)
        assert self.server.stdout is not None
        while True:
            said: dict[str, Any] = json.loads(self.server.stdout.readline())
            if said.get("id") == self._number:
                result: dict[str, Any] = said["result"]
                return result

    def call(self, tool: str, **arguments: Any) -> str:
        """A tool's answer."""
        text: str = self.ask("tools/call", name=tool, arguments=arguments)["content"][0]["text"]
        return text

    def _send(self, **message: Any) -> None:
        assert self.server.stdin is not None
        self.server.stdin.write(json.dumps(message) + "\n")
        self.server.stdin.flush()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Folders for the one real server of this module."""
    folder = tmp_path_factory.mktemp("server")
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    before = dict(os.environ)
    variables = {
        "XDG_RUNTIME_DIR": str(runtime),
        **{f"XDG_{each}_HOME": str(folder / each) for each in ("CONFIG", "DATA")},
    }
    os.environ.update(variables)
    yield variables
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def agent(elsewhere: dict[str, str]) -> Iterator[Agent]:
    """At work on this computer, which it may look at."""
    it = Agent("--machine", "host")
    it.call("status")
    yield it
    it.server.kill()
    it.server.communicate()


@pytest.mark.slow
def test_a_shell_shows_who_is_connected_and_what_they_do(agent: Agent, elsewhere: dict[str, str]) -> None:
    (server,) = schedtui("mcp", "--list", "--json", **elsewhere).spoken["servers"]
    assert (server["pid"], server["machine"]) == (agent.server.pid, "host")
    (client,) = server["clients"]
    assert (client["client"]["name"], client["client"]["label"]) == ("claude-code", "T 1")
    assert client["client"]["may"] == "may only propose"
    assert "claude-code (T 1)" in schedtui("mcp", "--list", **elsewhere).out


@pytest.mark.slow
def test_a_person_takes_the_machine_back_in_a_shell(agent: Agent, elsewhere: dict[str, str]) -> None:
    unknown = schedtui("mcp", "--take-back", "cursor", **elsewhere)
    assert (unknown.code, "No program “cursor” is connected. There: claude-code." in " ".join(unknown.err.split())) == (
        2,
        True,
    )
    done = schedtui("mcp", "--take-back", "claude-code", **elsewhere)
    assert (done.code, done.out.startswith("Taken back from claude-code.")) == (0, True)
    (server,) = schedtui("mcp", "--list", "--json", **elsewhere).spoken["servers"]
    assert server["clients"][0]["client"]["taken"]


@pytest.mark.slow
def test_a_watcher_sees_each_call_of_a_real_client_and_may_send_it_away(
    agent: Agent, elsewhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    (path,) = announced.announced()
    watcher = Watcher(path)
    watcher.read(CaughtUp)
    agent.call("status")
    kinds = [type(watcher.read(Happened).event), type(watcher.read(Happened).event)]
    assert kinds == [Called, Returned]
    ours = next(each.client.id for each in watcher.seen if isinstance(each, Seen))
    watcher.want(Disconnect(number=3, client=ours))
    done = watcher.read(Done)
    assert (done.number, done.ok) == (3, True)
    agent.server.wait(60)
    assert not psutil.pid_exists(agent.server.pid)
    assert schedtui("mcp", "--list", **elsewhere).out.startswith("No server for other programs")


@pytest.mark.slow
def test_nothing_to_take_back_is_said_so(folders: Path) -> None:
    done = schedtui("mcp", "--take-back")
    assert (done.code, "nothing to take back" in done.err) == (1, True)
