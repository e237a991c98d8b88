"""What the helper does with messages that no honest client sends, and with commands that do not end."""

from __future__ import annotations

import pytest

from schedtui.backend.errors import BadMessage, UnknownName
from schedtui.backend.helper import protocol
from schedtui.backend.lab import LabMachine

pytestmark = pytest.mark.lab


def send_raw(machine: LabMachine, data: bytes) -> None:
    machine.guest.qemu.agent.sendall(data)


@pytest.mark.parametrize(
    "line",
    [
        b"not json at all\n",
        b"\n",
        b"{}\n",
        b'{"id": 7}\n',
        b'{"id": 7, "body": {"type": "format-the-disk"}}\n',
        b'{"id": 7, "body": {"type": "load", "name": 5}}\n',
        b'{"id": "seven", "body": {"type": "scheduler"}}\n',
        b'{"id": 7, "body": ' + b"[" * 5000 + b"]" * 5000 + b"}\n",
        b"\xff\xfe\x00\x01\n",
        b"x" * (protocol.MAX_REQUEST_BYTES + (1 << 20)) + b"\n",
    ],
    ids=["prose", "empty", "object", "no-body", "unknown", "wrong-type", "wrong-id", "deep", "binary", "giant"],
)
def test_a_malformed_message_changes_nothing_and_the_helper_lives_on(lab: LabMachine, line: bytes) -> None:
    send_raw(lab, line)
    assert lab.scheduler().name == "EEVDF"
    assert lab.run(["true"], 10).exit_code == 0


def test_a_client_of_another_version_is_told_so(lab: LabMachine) -> None:
    with pytest.raises(BadMessage, match="version"):
        lab.guest.client.call(protocol.Hello(protocol.VERSION + 1, 0))


@pytest.mark.parametrize("interval_s", [-1.0, 0.001, 1e9])
def test_an_absurd_frame_interval_is_refused(lab: LabMachine, interval_s: float) -> None:
    with pytest.raises(BadMessage, match="outside"):
        lab.guest.client.call(protocol.Subscribe(interval_s))


def test_an_unknown_workload_is_refused_by_name(lab: LabMachine) -> None:
    with pytest.raises(UnknownName, match="mining"):
        lab.start_workload("mining")


def test_a_command_that_does_not_end_is_killed_with_its_children(lab: LabMachine) -> None:
    done = lab.run(["sh", "-c", "echo started; sleep 1000 & sleep 1000"], 1.5)
    assert done.exit_code != 0 and done.truncated
    assert done.output.startswith("started")
    assert "sleep 1000" not in lab.run(["ps"], 10).output


def test_a_command_that_leaves_a_child_holding_its_output_ends_at_once(lab: LabMachine) -> None:
    done = lab.run(["sh", "-c", "sleep 1000 & echo done"], 20)
    assert (done.exit_code, done.output, done.truncated) == (0, "done\n", False)
    assert done.seconds < 15


def test_a_command_that_prints_without_end_is_cut(lab: LabMachine) -> None:
    done = lab.run(["sh", "-c", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"], 4)
    assert done.truncated and len(done.output) <= 1 << 20


def test_a_command_that_is_not_there_is_named(lab: LabMachine) -> None:
    with pytest.raises(UnknownName, match="frobnicate"):
        lab.run(["frobnicate"], 5)


def test_more_commands_than_the_helper_runs_at_once_are_refused(lab: LabMachine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(_: int) -> str:
        try:
            return f"exit {lab.run(['sleep', '6'], 30).exit_code}"
        except BadMessage as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    refused = [each for each in answers if "already run here" in each]
    assert refused and set(answers) == {"exit 0", *refused}, answers
    assert len(answers) - len(refused) >= 4, answers
    assert lab.run(["true"], 5).exit_code == 0
