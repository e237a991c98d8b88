"""What the helper proves itself: who judges, what of the answer is believed, what is signed, and who is asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.errors import (
    BadMessage,
    Interrupted,
    KernelUnsuitable,
    LabFailed,
    NotPermitted,
    NotProven,
    SchedtuiError,
)
from schedtui.backend.helper import jobs
from schedtui.backend.helper.jobs import Job, Word
from schedtui.backend.helper.polkit import Asker, Permissions
from schedtui.backend.helper.protocol import Failure
from schedtui.backend.helper.proving import Proven, Prover, Spawn, Verifier
from schedtui.backend.microvm.kernels import listed_kernels
from schedtui.backend.model import Finding, Program, Report, Setting, Stage
from schedtui.paths import shipped
from tests.conftest import runs, until
from tests.helper.verifying import (
    DIGEST,
    KERNEL,
    OBJECT,
    RULES,
    Behaviour,
    Listening,
    answering,
    listening,
    python_for_anybody,
    report_on,
    saying,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a helper is root")

ROOT, PERSON = Asker(os.getpid(), 0), Asker(os.getpid(), 1000)
FAILED = (Stage(name="object", verdict="fail", seconds=1.0),)


def prover_at(place: Path, *, limit_s: float = 20.0, permissions: Permissions | None = None) -> Prover:
    """A helper's, whose library holds OBJECT."""
    state = place / "state"
    state.mkdir(exist_ok=True)
    (state / "library.json").write_text(json.dumps({DIGEST: "fair"}))
    spawn = Spawn(cache=state / "verify", users=("nobody",))
    verifier = Verifier(place / "verify.sock", spawn, limit_s=limit_s)
    return Prover(state, verifier, permissions=permissions, kernel=lambda: KERNEL, rules=lambda: RULES)


def prove(prover: Prover, asker: Asker = PERSON, **more: Any) -> Proven:
    return prover.prove("fair", OBJECT, {"slice_us": 3000}, asker=asker, **more)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


@contextlib.contextmanager
def helped(place: Path, behave: Behaviour, **more: Any) -> Iterator[tuple[Prover, Listening]]:
    with listening(place / "verify.sock", behave) as listener:
        yield prover_at(place, **more), listener


def test_what_passed_may_be_loaded_and_is_not_judged_again(place: Path) -> None:
    said: list[str] = []
    with helped(place, answering()) as (prover, listener):
        with pytest.raises(NotProven, match="has not passed"):
            prover.may_load(DIGEST, {"slice_us": 3000})
        first = prove(prover, tell=said.append)
        assert first.report.verdict == "pass"
        assert said == ["stress: more programs than CPUs"]
        prover.may_load(DIGEST, {"slice_us": 3000})
        assert prove(prover_at(place)) == first
        assert listener.asked == 1


def test_only_these_bytes_with_these_settings_may_be_loaded(place: Path) -> None:
    with helped(place, answering()) as (prover, _):
        token = prove(prover).token
        prover.may_load(DIGEST, {"slice_us": 3000}, token)
        others: list[tuple[str, dict[str, Setting]]]
        others = [("00" * 32, {"slice_us": 3000}), (DIGEST, {"slice_us": 9}), (DIGEST, {})]
        for digest, given_settings in others:
            for held in ("", token):
                with pytest.raises(NotProven):
                    prover.may_load(digest, given_settings, held)


def test_a_token_in_hand_is_as_good_as_the_one_that_is_kept(place: Path) -> None:
    with helped(place, answering()) as (prover, _):
        token = prove(prover).token
    for kept in (place / "state" / "tokens").iterdir():
        kept.unlink()
    prover.may_load(DIGEST, {"slice_us": 3000}, token)
    with pytest.raises(NotProven, match="forged"):
        prover.may_load(DIGEST, {"slice_us": 3000}, token[:-1] + ("0" if token[-1] != "0" else "1"))


def test_what_failed_is_told_and_gets_no_token(place: Path) -> None:
    with helped(place, answering(verdict="fail", stages=FAILED, kernel=None)) as (prover, _):
        proven = prove(prover)
        assert (proven.report.verdict, proven.token) == ("fail", "")
        assert prover.tokens.kept()[0] == []


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"digest": "00" * 32}, "another object"),
        ({"settings": {}}, "other settings"),
        ({"settings": {"slice_us": True}}, "other settings"),
        ({"quick": True}, "another way"),
        ({"rules": "rules-0"}, "other rules"),
        ({"verdict": "warn"}, "not that of its stages"),
        ({"stages": (*FAILED, *report_on(Job(version=1, name="", settings={}, quick=False)).stages)}, "verdict"),
        ({"stages": ()}, "verdict"),
        ({"stages": (Stage(name="kernel", verdict="pass", seconds=1.0),)}, "stages of it are missing"),
        ({"kernel": None}, "stages of it are missing"),
        ({"name": "another"}, "another name"),
    ],
    ids=lambda each: each if isinstance(each, str) else "+".join(each),
)
def test_a_report_that_is_not_about_what_was_asked_is_not_used(place: Path, lie: dict[str, Any], told: str) -> None:
    with helped(place, answering(**lie)) as (prover, _):
        with pytest.raises(NotProven, match=told):
            prove(prover)
        assert prover.tokens.kept() == ([], [])


def test_what_was_proven_on_another_kernel_is_told_and_may_be_loaded_with_a_warning(place: Path) -> None:
    other = replace(KERNEL, release="6.12.1", build_id="ee" * 20)
    with helped(place, answering(kernel=other)) as (prover, _):
        proven = prove(prover)
        assert proven.report.verdict == "warn"
        assert "6.12.1" in proven.report.note
        prover.may_load(DIGEST, {"slice_us": 3000})


GARBAGE = {
    "nothing": b"",
    "half-a-line": b'{"report": {',
    "no-json": b"hello\n",
    "another-type": b'{"report": 5}\n',
    "not-text": b"\xff\xfe\x00\n",
    "deep": b"[" * 100_000 + b"\n",
    "without-end": b"x" * (jobs.MAX_WORD_BYTES + 1),
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_in_place_of_a_report_is_a_clear_failure(place: Path, content: bytes) -> None:
    with helped(place, saying(content)) as (prover, _):
        with pytest.raises(LabFailed, match="verifying process") as failed:
            prove(prover)
        assert failed.value.remedy
        assert prover.tokens.kept() == ([], [])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_in_place_of_a_report_give_a_token(place: Path, content: bytes) -> None:
    (place / "verify.sock").unlink(missing_ok=True)
    with helped(place, saying(content + b"\n")) as (prover, _):
        with pytest.raises(SchedtuiError):
            prove(prover)
        assert prover.tokens.kept() == ([], [])


def test_words_without_end_are_not_listened_to(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_ANSWER_BYTES", 100_000)

    def chatter(link: socket.socket, _job: Job, _obj: bytes) -> None:
        while True:
            link.sendall(jobs.encode(Word(progress="still at it")) * 100)

    with helped(place, chatter) as (prover, _), pytest.raises(LabFailed, match="no report"):
        prove(prover)


def silent(link: socket.socket, _job: Job, _obj: bytes) -> None:
    """Says nothing until the helper hangs up."""
    link.recv(1)


@pytest.mark.slow
def test_one_that_never_answers_is_given_up(place: Path) -> None:
    with helped(place, silent, limit_s=0.4) as (prover, _), pytest.raises(LabFailed, match="came to no end"):
        prove(prover)


def test_one_that_nobody_waits_for_any_more_is_ended(place: Path) -> None:
    with helped(place, silent) as (prover, _), pytest.raises(Interrupted):
        prove(prover, gone=lambda: True)


def test_its_errors_are_told_as_they_are_but_none_speaks_for_the_helper(place: Path) -> None:
    def failing(kind: str) -> Behaviour:
        return saying(jobs.encode(Word(failure=Failure(kind, "No\x1b[2J kernel.", "Run setup.", "a\nb"))))

    with helped(place, failing("kernel-unsuitable")) as (prover, listener):
        with pytest.raises(KernelUnsuitable) as told:
            prove(prover)
        assert told.value.message == "No [2J kernel."
        assert told.value.remedy == "Run setup."
        assert told.value.details == "a\nb"
        listener.behave = failing("panic-latched")
        with pytest.raises(LabFailed):
            prove(prover)


def test_what_findings_quote_cannot_write_to_a_terminal(place: Path) -> None:
    hostile = Finding(rule="r", severity="note", place="\x1b]0;p\x07", meaning="\x1b[31m", remedy="")
    stages = report_on(Job(version=1, name="", settings={}, quick=False)).stages
    with helped(place, answering(stages=(replace(stages[0], findings=(hostile,)), *stages[1:]))) as (prover, _):
        assert "\x1b" not in repr(prove(prover).report.findings).encode().decode("unicode_escape")


def test_two_who_ask_for_the_same_at_once_are_served_by_one_verification(place: Path) -> None:
    going, answer = threading.Event(), threading.Event()

    def slow(link: socket.socket, job: Job, obj: bytes) -> None:
        going.set()
        answer.wait(60)
        answering()(link, job, obj)

    with helped(place, slow) as (prover, listener):
        said: list[str] = []
        results: list[Proven] = []
        first = threading.Thread(target=lambda: results.append(prove(prover)))
        first.start()
        going.wait(60)
        second = threading.Thread(target=lambda: results.append(prove(prover, tell=said.append)))
        second.start()
        assert until(lambda: bool(said))
        answer.set()
        first.join()
        second.join()
        assert said == ["waiting: another policy is being verified"]
        assert results[0] == results[1]
        assert listener.asked == 1


def test_a_quick_look_is_no_full_proof_but_a_full_proof_is_a_quick_look(place: Path) -> None:
    with helped(place, answering()) as (prover, listener):
        assert prove(prover, quick=True).report.quick
        assert not prove(prover).report.quick
        assert not prove(prover, quick=True).report.quick
        assert listener.asked == 2


@pytest.mark.parametrize(
    ("name", "given_settings"),
    [("", {}), ("x" * 65, {}), ("a\nb", {}), ("fair", {"text": "x" * (1 << 18)})],
    ids=["no-name", "long-name", "two-lines", "endless-settings"],
)
def test_absurd_requests_do_not_reach_the_verifier(place: Path, name: str, given_settings: dict[str, Any]) -> None:
    with helped(place, answering()) as (prover, listener):
        with pytest.raises(BadMessage):
            prover.prove(name, OBJECT, given_settings, asker=PERSON)
        assert listener.asked == 0


def test_a_kernel_that_does_not_say_which_it_is_gets_nothing_loaded(place: Path) -> None:
    (place / "state").mkdir()
    verifier = Verifier(place / "verify.sock", Spawn(cache=place / "cache"))
    prover = Prover(place / "state", verifier, kernel=lambda: None, rules=lambda: RULES)
    for act in (lambda: prove(prover), lambda: prover.may_load(DIGEST, {})):
        with pytest.raises(KernelUnsuitable):
            act()


# Programs of others.


def test_a_program_is_proven_with_its_arguments_by_the_last_stage_alone(place: Path) -> None:
    (place / "scx_other").write_bytes(OBJECT)
    program = Program(name="other", path="", sha256=DIGEST, goal="gaming", arguments=("--performance",))
    stages = (Stage(name="kernel", verdict="pass", seconds=1.0),)
    seen: list[Program | None] = []

    def behave(link: socket.socket, job: Job, obj: bytes) -> None:
        seen.append(job.program)
        answering(digest=program.digest, stages=stages)(link, job, obj)

    with helped(place, behave) as (prover, listener):
        descriptor = os.open(place / "scx_other", os.O_RDONLY)
        for _ in range(2):
            assert prover.prove_program(program, descriptor, {}).token
        os.close(descriptor)
        assert seen == [program]
        assert listener.asked == 1
        prover.may_load(program.digest, {}, arguments=program.arguments)
        for arguments in ((), ("--performance", "--more")):
            with pytest.raises(NotProven):
                prover.may_load(program.digest, {}, arguments=arguments)
        listener.behave = answering(stages=stages)
        with pytest.raises(NotProven, match="stages of it are missing"):  # an object needs all of them
            prove(prover)


# Who listens.


def test_a_socket_of_another_user_is_not_asked(place: Path) -> None:
    with helped(place, answering()) as (prover, listener):
        os.chown(place / "verify.sock", 1000, 1000)
        with pytest.raises(NotProven, match="not root's"):
            prove(prover)
        assert listener.asked == 0


def test_another_user_who_took_the_sockets_place_is_not_asked(place: Path) -> None:
    place.chmod(0o777)
    script = (
        "import os, socket, sys; os.setresuid(1000, 1000, 1000); s = socket.socket(socket.AF_UNIX); "
        "s.bind(sys.argv[1]); s.listen(); print(flush=True); sys.stdin.read()"
    )
    command = [python_for_anybody()[0], "-ISB", "-c", script, str(place / "verify.sock")]
    pipe = subprocess.PIPE
    for parent in place.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        os.chown(place / "verify.sock", 0, 0)  # as a link or a race would make it look
        with pytest.raises(NotProven, match="Another user listens"):
            prove(prover_at(place))
        process.communicate("")


# Who is asked.


def pkcheck_that(place: Path, script: str) -> Permissions:
    """Permissions that ask a program of root's which does this."""
    program = place / "pkcheck"
    program.write_text(f'#!/bin/sh\necho "$@" >> {place}/asked\n{script}\n')
    program.chmod(0o755)
    (place / "state").mkdir(exist_ok=True)
    return Permissions(place / "state", program)


NEW = OBJECT + b", of another make"


@contextlib.contextmanager
def person() -> Iterator[Asker]:
    """A process of user 1000."""
    script = "import os; os.setresuid(1000, 1000, 1000); os.execl('/bin/sleep', 'sleep', '60')"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        try:
            while "Uid:\t1000\t1000\t1000" not in Path(f"/proc/{process.pid}/status").read_text():
                time.sleep(0.01)
            yield Asker(process.pid, 1000)
        finally:
            process.kill()


def prove_new(prover: Prover, asker: Asker, **more: Any) -> Proven:
    return prover.prove("mine", NEW, more.pop("with_settings", {}), asker=asker, **more)


def test_a_person_is_asked_once_before_code_that_is_not_of_the_library_gets_a_token(place: Path) -> None:
    permissions = pkcheck_that(place, "exit 0")
    said: list[str] = []
    with helped(place, answering(), permissions=permissions) as (prover, _), person() as asker:
        assert prove_new(prover, asker, tell=said.append).token
        assert said[-1] == "waiting for your permission: this code is new here"
        assert prove_new(prover, asker, with_settings={"x": 1}).token
        assert prover.tokens.kept()[0][0].generated
        asked = (place / "asked").read_text().splitlines()
        assert len(asked) == 1
        words = asked[0].split()
        assert words[words.index("--action-id") + 1] == "org.schedtui.load-generated"
        pid, started, uid = words[words.index("--process") + 1].split(",")
        assert (int(pid), int(uid)) == asker
        assert started == Path(f"/proc/{asker.pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_nobody_is_asked_for_what_the_library_ships(place: Path) -> None:
    with helped(place, answering(), permissions=pkcheck_that(place, "exit 1")) as (prover, _), person() as asker:
        assert prove(prover, asker).token
        assert not (place / "asked").exists()
        with pytest.raises(NotPermitted):  # unless the client says so itself
            prove(prover, asker, generated=True)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 1", "did not, or may not"),
        ("exit 2", "no desktop can ask"),
        ("exit 3", "dismissed"),
        ("echo Action is not registered >&2; exit 127", "not registered"),
        ("kill -9 $$", "could not ask"),
    ],
    ids=["no", "nobody-to-ask", "dismissed", "not-set-up", "killed"],
)
def test_without_permission_there_is_no_token(place: Path, script: str, told: str) -> None:
    permissions = pkcheck_that(place, script)
    with helped(place, answering(), permissions=permissions) as (prover, _), person() as asker:
        for _ in range(2):
            with pytest.raises(NotPermitted, match=told) as refused:
                prove_new(prover, asker)
            assert refused.value.remedy
        assert prover.tokens.kept() == ([], [])


def test_where_nothing_was_installed_polkits_own_question_is_asked(place: Path) -> None:
    ours_is_unknown = "case $2 in org.schedtui*) echo Action $2 is not registered >&2; exit 127;; esac; exit 0"
    permissions = pkcheck_that(place, ours_is_unknown)
    with helped(place, answering(), permissions=permissions) as (prover, _), person() as asker:
        assert prove_new(prover, asker).token
        first, second = (line.split()[1] for line in (place / "asked").read_text().splitlines())
        assert (first, second) == ("org.schedtui.load-generated", "org.freedesktop.policykit.exec")


def test_a_question_that_nobody_waits_for_is_taken_back(place: Path) -> None:
    permissions = pkcheck_that(place, "exec sleep 60")
    with helped(place, answering(), permissions=permissions) as (prover, _), person() as asker:
        with pytest.raises(Interrupted):
            prove_new(prover, asker, gone=(place / "asked").exists)
        assert prover.tokens.kept() == ([], [])


def test_without_polkit_it_says_what_to_do(place: Path) -> None:
    permissions = Permissions(place / "state", place / "nothing")
    with helped(place, answering(), permissions=permissions) as (prover, listener), person() as asker:
        with pytest.raises(NotPermitted, match="not installed") as refused:
            prove_new(prover, asker)
        assert "sudo" in refused.value.remedy
        assert listener.asked == 0  # a minute of judging would be for nothing
        assert prove_new(prover, ROOT).token  # whom nobody need ask


def test_a_pkcheck_that_others_can_change_is_not_asked(place: Path) -> None:
    permissions = pkcheck_that(place, "exit 0")
    (place / "pkcheck").chmod(0o777)
    with helped(place, answering(), permissions=permissions) as (prover, _), person() as asker:
        with pytest.raises(NotPermitted, match="others than root"):
            prove_new(prover, asker)
        assert not (place / "asked").exists()


def test_a_process_that_ended_or_became_another_users_is_not_the_one_that_asked(place: Path) -> None:
    permissions = pkcheck_that(place, "exit 0")
    with helped(place, answering(), permissions=permissions) as (prover, _):
        for stranger in (Asker(2**22 + 1, 1000), Asker(os.getpid(), 1000)):
            with pytest.raises(NotPermitted):
                prove_new(prover, stranger)


@pytest.mark.parametrize("spoil", ["writable", "damaged", "gone"])
def test_where_the_librarys_list_cannot_be_trusted_everything_is_new(place: Path, spoil: str) -> None:
    prover = prover_at(place)
    listed = place / "state" / "library.json"
    assert prover.is_of_the_library(DIGEST)
    assert not prover.is_of_the_library("00" * 32)
    if spoil == "writable":
        listed.chmod(0o666)
    elif spoil == "damaged":
        listed.write_text(f'{{"{DIGEST}": ')
    else:
        listed.unlink()
    assert not prover.is_of_the_library(DIGEST)


# The process that the helper starts itself.


def spawned(place: Path, **more: Any) -> Spawn:
    """As it is started here, where every user may pass through its folder."""
    for each in (place, *place.parents):
        if not each.stat().st_mode & 0o001:
            each.chmod(each.stat().st_mode | 0o011)
    python, paths = python_for_anybody()
    return Spawn(cache=place / "cache", users=("nobody",), python=python, import_paths=paths, **more)


QUICK = Job(version=jobs.VERSION, name="fair", settings={}, quick=True)


def judged(verifier: Verifier) -> Report:
    memory = jobs.sealed(OBJECT)
    try:
        return verifier.judge(QUICK, memory, lambda _words: None, lambda: False)
    finally:
        os.close(memory)


LOOK = """
import json, os, resource, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
network = [line.split(":")[0].strip() for line in open("/proc/self/net/dev").read().splitlines()[2:]]
print(json.dumps({
    "ids": [*os.getresuid(), *os.getresgid(), *os.getgroups()],
    "capabilities": {key: int(status[key], 16) for key in status if key.startswith("Cap")},
    "no new privileges": status["NoNewPrivs"],
    "network": network,
    "environment": sorted(set(os.environ) - {"LC_CTYPE"}),
    "files": len(os.listdir("/proc/self/fd")),
    "class": os.sched_getscheduler(0),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "umask": os.umask(0),
    "cwd": os.getcwd(),
}))
"""


def confined_command(place: Path, code: str) -> list[str]:
    """How the helper starts the verifying process, but with other code in it."""
    spawn = spawned(place)
    *become, _python, _flags, _c, _serve, _paths, _cache, _folder, _fd, _number = spawn._command(spawn._user(), 0)
    return [*become, spawn.python, "-ISB", "-c", code]


def test_what_judges_has_nothing_of_roots(place: Path) -> None:
    done = subprocess.run(
        ["chrt", "-f", "1", *confined_command(place, LOOK)], capture_output=True, text=True, check=False, env={"A": "b"}
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert set(seen["ids"]) == {65534}
    assert set(seen["capabilities"].values()) == {0}
    assert seen["no new privileges"] == "1"
    assert seen["network"] in (["lo"], [])
    assert seen["environment"] == []
    assert seen["files"] <= 4
    assert seen["class"] == os.SCHED_OTHER
    assert (seen["core"], seen["umask"], seen["cwd"]) == (0, 0o077, "/")


@pytest.mark.slow
def test_it_dies_with_the_helper(place: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    starter = (
        "import json, os, subprocess, sys, time; command = json.loads(sys.argv[1]); "
        "command[command.index('PARENT')] = str(os.getpid()); subprocess.Popen(command); time.sleep(60)"
    )
    command = [each if each != str(os.getpid()) else "PARENT" for each in confined_command(place, code)]
    with subprocess.Popen(
        [sys.executable, "-c", starter, json.dumps(command)], stdout=subprocess.PIPE, text=True
    ) as helper:
        assert helper.stdout
        child = int(helper.stdout.readline())
        helper.kill()
    assert until(lambda: not runs(child))


@pytest.mark.slow
def test_one_whose_helper_died_before_it_could_watch_it_does_not_begin(place: Path) -> None:
    command = confined_command(place, "print('began')")
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (77, "")


@pytest.mark.slow
def test_the_real_one_runs_as_nobody_and_says_what_it_lacks(place: Path) -> None:
    """Up to the kernel image, which it does not find here: the stages before it are looked at, as that user."""
    (place / "prepared").mkdir()
    verifier = Verifier(place / "none.sock", spawned(place, prepared=place / "prepared"))
    with pytest.raises(KernelUnsuitable, match="no kernel image") as told:
        judged(verifier)
    assert "setup" in told.value.remedy
    assert (place / "cache").stat().st_uid == 65534


def test_one_that_is_killed_is_told_and_leaves_no_token(place: Path) -> None:
    prover = prover_at(place)
    prover._verifier = Verifier(place / "none.sock", spawned(place))

    def kill(_words: str = "") -> bool:
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        for each in children:
            os.kill(int(each), 9)
        return False

    with pytest.raises(LabFailed, match="verifying process ended"):
        prove(prover, gone=kill)
    assert prover.tokens.kept() == ([], [])


def test_one_that_cannot_be_started_is_told_with_its_last_words(place: Path) -> None:
    spawn = replace(spawned(place), import_paths=())
    with pytest.raises(LabFailed) as told:
        judged(Verifier(place / "none.sock", spawn))
    assert told.value.details
    with pytest.raises(LabFailed, match="cannot be started"):
        judged(Verifier(place / "none.sock", replace(spawn, python="/nonexistent")))
    with pytest.raises(LabFailed, match="no user to verify as"):
        judged(Verifier(place / "none.sock", replace(spawn, users=("nobody-at-all",))))


def test_its_folder_is_its_own_and_what_others_left_there_goes(place: Path) -> None:
    spawn = spawned(place, prepared=place / "none")
    (place / "cache").mkdir()
    (place / "cache" / "left").write_text("by another user")
    with spawn.started() as (_, _words):
        assert (place / "cache").stat().st_uid == 65534
        assert (place / "cache").stat().st_mode & 0o077 == 0
        assert not (place / "cache" / "left").exists()


@pytest.mark.lab
@pytest.mark.soak
@pytest.mark.matrix
def test_a_policy_is_proven_by_nobody_without_a_network_and_with_a_guest_of_its_own(place: Path) -> None:
    """All of it as it is without systemd: root's copy of a kernel, a user who has nothing, and a snapshot made anew."""
    kernel = listed_kernels()[0]
    prepared = place / "prepared" / "kernels" / kernel.release
    prepared.mkdir(parents=True)
    shutil.copy(kernel.image, prepared / "vmlinuz")
    obj = compile_bpf(shipped("library") / "fair" / "fair.bpf.c")
    (place / "state").mkdir()
    (place / "state" / "library.json").write_text(json.dumps({hashlib.sha256(obj).hexdigest(): "fair"}))
    spawn = spawned(place, prepared=place / "prepared")
    prover = Prover(place / "state", Verifier(place / "none.sock", spawn), kernel=lambda: KERNEL)
    users: set[int] = set()

    def look(_words: str) -> None:
        users.update(guests_of(spawn.cache.stat().st_uid))

    proven = prover.prove("fair", obj, {}, quick=True, asker=PERSON, tell=look)
    assert proven.report.verdict == "warn"  # the kernel here is another one
    assert proven.token
    assert users == {65534}
    assert not guests_of(65534)


def guests_of(uid: int) -> set[int]:
    """Whom the QEMUs of a user belong to, if it has any."""
    found = subprocess.run(["ps", "-u", str(uid), "-o", "stat=,comm="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in found.stdout.splitlines()]
    return {uid for state, name, *_ in rows if name.startswith("qemu") and state[0] != "Z"}
