"""What a model's server said once is kept by ``schedtui ask --record``, and said again gives the same story."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schedtui.agent.bench import Request, Watch
from schedtui.agent.engine import Engine
from schedtui.agent.mind import Call
from schedtui.agent.trajectory import Replay
from schedtui.backend.deploy import Deployer
from schedtui.backend.replay import ReplayMachine
from schedtui.backend.store import Store
from tests.agent import scripted
from tests.agent.scripted import Heard, Scripted, call
from tests.agent.server import Script, recorded, serving
from tests.agent.wire import chosen, spoken_by
from tests.cli.commands import Ended, schedtui
from tests.conftest import quiet

pytestmark = pytest.mark.slow
WORDS = "my game stutters while a build runs"
MACHINE = Path(__file__).parents[1] / "recordings" / "busy-4-eevdf.jsonl.gz"
SAME = ("words", "state", "text", "workload", "plan", "rounds", "scheduler", "usage")


def given_up(heard: Heard) -> list[Call]:
    heard.needs("The plan: configure interactive")
    return [call("give_up", reason="It is not worth it.")]


def mind() -> Scripted:
    return Scripted(
        observe=[scripted.workload()], plan=[scripted.plan("interactive")], execute=[given_up], learn=[scripted.finish]
    )


def ask(script: Script, *options: str) -> Ended:
    with serving(script) as server:
        chosen(server)
        return schedtui("ask", WORDS, "--machine", f"replay:{MACHINE}", "--json", *options, timeout=120)


def told(ended: Ended) -> dict[str, Any]:
    return {name: ended.spoken[name] for name in SAME}


def test_a_recorded_request_goes_the_same_way_again(tmp_path: Path) -> None:
    model, folder = mind(), tmp_path / "said"
    first = ask(spoken_by(model), "--record", str(folder))
    model.check()
    assert first.spoken["text"].startswith("It was tried.")
    assert sorted(each.name for each in folder.iterdir()) == ["001.json", "002.json", "003.json", "004.json"]
    again = ask(recorded(folder))
    assert told(again) == told(first)
    assert ask(recorded(folder), "--record", str(folder)).code == 2

    machine = ReplayMachine(MACHINE, speed=20)
    try:
        info, watch, store = machine.open(quiet), Watch(), Store()
        watch.follow(machine)
        engine = Engine(
            machine=machine,
            info=info,
            watch=watch,
            mind=Replay(Path(first.spoken["trajectory"])),
            deployer=Deployer(machine, store),
            listen=lambda _: None,
            store=store,
            consent="no",
        )
        story = engine.answer(Request(words=WORDS))
    finally:
        machine.close()
    assert (story.state, story.text, story.plan and story.plan.policy) == (
        "failed",
        first.spoken["text"],
        "interactive",
    )


def test_a_folder_that_cannot_be_written_is_told_of_and_nothing_goes_on(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    model = mind()
    ended = ask(spoken_by(model), "--record", str(in_the_way / "said"))
    assert ended.code == 1
    assert "cannot be kept" in ended.spoken["error"]["message"] and ended.spoken["error"]["remedy"]
    assert len(model.turns) == 1
