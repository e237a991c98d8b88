"""Trajectories: what was sent and said is kept without secrets, reads as a story, and can be played again."""

from __future__ import annotations

import re
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from schedtui.agent.events import Ended, Measured, Said
from schedtui.agent.masking import Masker
from schedtui.agent.mind import Message, MindFailed, Turn
from schedtui.agent.trajectory import Replay, Trajectory, read, story
from schedtui.backend.errors import BadFile
from schedtui.backend.model import Comparison, Metric
from tests.agent.small_loop import DONE, OPENING, Setting, calling, saying


@pytest.fixture
def recorded(tmp_path: Path) -> Setting:
    """A request that needed a correction, looked, and ended."""
    setting = Setting(tmp_path, [saying("I think that it is fine."), calling("look"), DONE])
    setting.bench.says = "p99 is 3 ms, --token=abcdef12"
    setting.loop.run("observe", OPENING)
    return setting


def test_it_holds_exactly_what_was_sent_and_what_came_back(recorded: Setting) -> None:
    record = read(recorded.trajectory.path)
    (conversation,) = record.conversations
    for turn, given in zip(conversation.turns, recorded.mind.turns, strict=True):
        assert tuple(conversation.messages[: turn.sent]) == given.messages
        assert turn.max_output_tokens == given.max_output_tokens
    assert conversation.tools == recorded.mind.turns[0].tools
    assert [each.reply for each in conversation.turns] == [saying("I think that it is fine."), calling("look"), DONE]
    assert record.usage == recorded.budget.usage
    assert [each["event"] for each in record.events].count("spent") == 3


def test_nobody_else_can_read_it(recorded: Setting) -> None:
    assert stat.S_IMODE(recorded.trajectory.path.stat().st_mode) == 0o600


def test_no_secret_is_in_it(recorded: Setting) -> None:
    written = recorded.trajectory.path.read_text()
    assert "abcdef12" not in written and "--token=<secret-1>" in written


def test_it_reads_as_a_story(recorded: Setting) -> None:
    told = story(recorded.trajectory.path)
    in_order = [
        "“make it smooth”",
        "I think that it is fine.",
        "⚠ Your answer calls no tool",
        "→ Looks at the machine",
        "← p99 is 3 ms, --token=<secret-1>",
        "→ Is done",
        "It took 3 calls of the mind, 360 tokens, $0.003.",
        "it had the tools look, finish, more",
        "rules  You look after a scheduler.",
        'call   finish {"words":"smooth"}',
    ]
    places = [told.find(each) for each in in_order]
    assert -1 not in places and places == sorted(places), told


def test_every_event_has_a_line_or_is_left_out_on_purpose(tmp_path: Path) -> None:
    trajectory = Trajectory("x", "m", Masker(identity=False), leaves_computer=False, path=tmp_path / "t.json")
    metric = Metric(name="wakeup_p99_us")
    comparison = Comparison(metric=metric, verdict="better", before=200.0, after=150.0, change_percent=-25.0)
    trajectory.note(Measured(at_s=1, comparison=comparison, side="after", final=True))
    trajectory.note(Ended(at_s=2, state="kept", text="smooth runs now."))
    trajectory.record.events.append({"event": "from-the-future", "at_s": 3})
    trajectory.save()
    told = story(trajectory.path)
    assert "wakeup_p99_us 200 before, 150 after (-25 %): better" in told
    assert "End: kept. smooth runs now." in told
    assert "cannot read" in told


def test_what_is_said_in_pieces_and_measured_in_steps_is_one_entry(tmp_path: Path) -> None:
    trajectory = Trajectory("x", "m", Masker(identity=False), leaves_computer=False, path=tmp_path / "t.json")
    for piece in ("the password=", "hun", "ter2 is"):
        trajectory.note(Said(at_s=1, role="plan", text=piece))
    for after in (3.0, 2.0, 1.0):
        comparison = Comparison(metric=Metric(name="wakeup_p99_us"), verdict="inconclusive", before=1.0, after=after)
        trajectory.note(Measured(at_s=2, comparison=comparison, side="after"))
    trajectory.note(Said(at_s=3, role="plan", text="and "))
    trajectory.save()
    trajectory.note(Said(at_s=4, role="plan", text="more"))
    trajectory.save()
    said, measured, *later = read(trajectory.path).events
    assert said["text"] == "the password=<secret-1> is"
    assert measured["comparison"]["after"] == 1.0
    assert [each["text"] for each in later] == ["and ", "more"]


def test_a_long_request_stays_within_its_size(tmp_path: Path) -> None:
    trajectory = Trajectory("x", "m", Masker(identity=False), leaves_computer=False, path=tmp_path / "t.json")
    conversation = trajectory.begin("plan", ())
    for _ in range(300):
        conversation.messages.append(trajectory.kept(Message(role="user", text="words " * 20_000)))
    trajectory.save()
    assert trajectory.path.stat().st_size < 10 << 20
    assert "more characters]" in read(trajectory.path).conversations[0].messages[-1].text


def test_a_step_that_cannot_be_written_leaves_the_one_before(recorded: Setting) -> None:
    path = recorded.trajectory.path
    before = path.read_bytes()
    path.with_suffix(".new").mkdir()
    with pytest.raises(BadFile, match="cannot be kept"):
        recorded.trajectory.save()
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"request": "x"', id="half"),
        pytest.param(b'{"request": 5}', id="something-else"),
        pytest.param(b"\xff\x00", id="no-text"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"version":99,"request":"","mind":"","leaves_computer":true,"began":0}', id="newer"),
        pytest.param(None, id="missing"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadFile, match=r"t\.json"):
        story(path)


class TestReplay:
    """A recording as a mind."""

    def test_gives_the_same_answers_in_the_same_request(self, tmp_path: Path, recorded: Setting) -> None:
        again = Setting(tmp_path / "again", mind=Replay(recorded.trajectory.path, exact=True))  # type: ignore[arg-type]
        again.bench.says = recorded.bench.says
        assert again.loop.run("observe", OPENING).arguments.words == "smooth"
        assert again.bench.done == recorded.bench.done
        assert read(again.trajectory.path).conversations == read(recorded.trajectory.path).conversations

    def test_lets_numbers_differ_unless_it_must_be_exact(self, tmp_path: Path, recorded: Setting) -> None:
        for exact in (False, True):
            mind = Replay(recorded.trajectory.path, exact=exact)
            again = Setting(tmp_path / str(exact), mind=mind)  # type: ignore[arg-type]
            again.bench.says = "p99 is 4 ms"
            if not exact:
                assert again.loop.run("observe", OPENING).tool == "finish"
                continue
            with pytest.raises(MindFailed, match=r"at its answer 3: the words of message 6 \(tool\)") as failed:
                again.loop.run("observe", OPENING)
            assert "- p99 is 3 ms" in failed.value.details and "+ p99 is 4 ms" in failed.value.details

    def test_says_where_another_role_asks(self, tmp_path: Path, recorded: Setting) -> None:
        again = Setting(tmp_path / "again", mind=Replay(recorded.trajectory.path))  # type: ignore[arg-type]
        with pytest.raises(MindFailed, match="answer 1: plan asks, the recording has observe"):
            again.loop.run("plan", OPENING)

    def test_says_where_something_else_was_said(self, tmp_path: Path, recorded: Setting) -> None:
        again = Setting(tmp_path / "again", mind=Replay(recorded.trajectory.path))  # type: ignore[arg-type]
        with pytest.raises(MindFailed, match="answer 1: 3 messages were sent, the recording has 2"):
            again.loop.run("observe", [*OPENING, Message(role="user", text="More.")])

    def test_says_where_it_ends(self, recorded: Setting) -> None:
        mind, stop = Replay(recorded.trajectory.path), threading.Event()
        for turn in recorded.mind.turns:
            mind.answer(turn, lambda _: None, stop)
        with pytest.raises(MindFailed, match="ends after 3 answers"):
            mind.answer(recorded.mind.turns[-1], lambda _: None, stop)

    def test_fails_where_the_mind_failed(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, [DONE])
        setting.mind.answer = _unreachable  # type: ignore[method-assign,assignment]
        with pytest.raises(MindFailed):
            setting.loop.run("observe", OPENING)
        with pytest.raises(MindFailed, match="no route to <host>"):
            Setting(tmp_path / "2", mind=Replay(setting.trajectory.path)).loop.run("observe", OPENING)  # type: ignore[arg-type]


def _unreachable(turn: Turn, on_text: object, stop: object) -> None:
    raise MindFailed("no route to <host>")


def test_files_of_a_second_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made = [Trajectory("x", "m", Masker(identity=False), leaves_computer=False) for _ in range(20)]
    for each in made:
        each.save()
    files = list((tmp_path / "schedtui" / "trajectories").iterdir())
    assert len(files) == 20
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}\.json", each.name) for each in files)
    assert all(msgspec.json.decode(each.read_bytes())["request"] == "x" for each in files)
