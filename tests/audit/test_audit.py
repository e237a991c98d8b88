"""What was done stands in a log that shows when somebody changed it, and that survives crashes and full disks."""

from __future__ import annotations

import fcntl
import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from schedtui.backend.audit import Audit, Entry
from schedtui.backend.errors import BadFile

WRITER = (
    "import sys; from pathlib import Path; from schedtui.backend.audit import Audit\n"
    "audit = Audit(Path(sys.argv[1]))\n"
    "print('ready', flush=True); sys.stdin.readline()\n"
    "for _ in range(int(sys.argv[2])):\n"
    "    problem = audit.append('person', 'panic', {'words': 'x' * int(sys.argv[3])})\n"
    "    if problem: print(problem.message, problem.remedy)"
)


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    """Of a user who has none yet."""
    return Audit(tmp_path / "data" / "audit.jsonl")


def written(audit: Audit, count: int) -> list[bytes]:
    """The lines of a log to which so many entries were added."""
    for number in range(count):
        assert audit.append("person", "keep", {"number": number}) is None
    return audit.path.read_bytes().splitlines(keepends=True)


def test_an_entry_says_who_did_what_and_nobody_else_may_read_it(audit: Audit) -> None:
    assert audit.append("offline adviser", "canary", {"policy": "fair", "settings": {"slice_us": 2000}}) is None
    audit.append("person", "panic")
    newest, oldest = audit.entries()
    assert (newest.number, newest.actor, newest.act, newest.details) == (2, "person", "panic", {})
    assert (oldest.actor, oldest.details) == ("offline adviser", {"policy": "fair", "settings": {"slice_us": 2000}})
    assert audit.path.stat().st_mode & 0o077 == 0
    assert audit.entries(limit=1) == [newest]


def test_a_log_that_nobody_touched_is_sound(audit: Audit) -> None:
    assert audit.verify().entries == 0
    written(audit, 5)
    found = audit.verify()
    assert (found.entries, found.broken_at, found.reason, found.notes) == (5, None, "", ())


def altered(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"number":2', b'"number":7'), *lines[3:]]


def altered_with_a_hash_that_fits(lines: list[bytes]) -> list[bytes]:
    """By somebody who knows how the hash of an entry is made, and did not make the later ones anew."""
    forged = replace(msgspec.json.decode(lines[2], type=Entry), actor="somebody else", hash="")
    hash = hashlib.sha256(msgspec.json.encode(forged)).hexdigest()
    return [*lines[:2], msgspec.json.encode(replace(forged, hash=hash)) + b"\n", *lines[3:]]


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (altered, 3, "altered"),
        (altered_with_a_hash_that_fits, 4, "replaced"),
        (lambda lines: [*lines[:2], *lines[3:]], 3, "missing"),
        (lambda lines: lines[1:], 1, "missing"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 2, "missing"),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], 3, "repeated"),
        (lambda lines: [*lines[:2], b"\xff\xfe\n", *lines[3:]], 3, "no entry"),
        (lambda lines: [*lines[:2], lines[2].replace(b'","act', b'", "act'), *lines[3:]], 3, "no entry"),
        (lambda lines: lines[:4], 5, "last 2 entries are missing"),
        (lambda lines: lines[:5], 6, "last entry is missing"),
        (lambda _: [], 1, "last 6 entries are missing"),
    ],
    ids=["altered", "forged", "removed", "first", "swapped", "twice", "rubbish", "spaces", "cut", "cut-one", "emptied"],
)
def test_tampering_is_found(audit: Audit, change: Callable[[list[bytes]], list[bytes]], line: int, reason: str) -> None:
    lines = written(audit, 6)
    audit.path.write_bytes(b"".join(change(lines)))
    found = audit.verify()
    assert found.broken_at == line
    assert reason in found.reason


def test_an_end_that_was_cut_off_is_told_however_much_is_written_after(audit: Audit) -> None:
    lines = written(audit, 6)
    audit.path.write_bytes(b"".join(lines[:4]))
    written(audit, 6)
    found = audit.verify()
    assert found.broken_at == 6
    assert "written anew" in found.reason


def test_writing_goes_on_after_a_damaged_line_and_the_damage_stays_told(audit: Audit) -> None:
    lines = written(audit, 3)
    audit.path.write_bytes(b"".join(lines[:2]) + b"rubbish\n")
    written(audit, 2)
    assert audit.verify().broken_at == 3
    assert [each.number for each in audit.entries()] == [5, 4, 2, 1]


def test_a_line_that_a_crash_cut_short_is_mended_and_told(audit: Audit) -> None:
    lines = written(audit, 3)
    audit.path.write_bytes(b"".join(lines) + lines[0][:40])
    found = audit.verify()
    assert found.broken_at is None
    assert "cut short" in found.notes[0]
    audit.append("person", "revert")
    mended = audit.entries()[1]
    assert (mended.actor, mended.act, mended.details) == ("schedtui", "mended the log", {"cut_bytes": 40})
    assert audit.verify().entries == 5
    assert audit.verify().broken_at is None


def test_without_the_history_the_end_cannot_be_judged_and_that_is_said(audit: Audit) -> None:
    written(audit, 2)
    audit.path.with_name("history.sqlite").unlink()
    found = audit.verify()
    assert found.broken_at is None
    assert "cannot be known" in found.notes[0]


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(audit: Audit) -> None:
    """They all begin when they are told to, so that none is done before the next has started."""
    command = [sys.executable, "-c", WRITER, str(audit.path), "20", "10"]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(3)
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
    assert [each.communicate()[0] for each in running] == ["", "", ""]
    found = audit.verify()
    assert (found.entries, found.broken_at, found.notes) == (60, None, ())


@pytest.mark.slow
def test_who_writes_waits_until_another_has_written(audit: Audit) -> None:
    (line,) = written(audit, 1)
    command = [sys.executable, "-c", WRITER, str(audit.path), "1", "10"]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with audit.path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        time.sleep(1.5)
        assert audit.path.read_bytes() == line
        assert writer.poll() is None
    assert writer.communicate()[0] == ""
    assert audit.verify().entries == 2


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_whole_lines(audit: Audit) -> None:
    """A limit on files' sizes fails as a full disk does: in the middle of a line."""
    audit.append("person", "keep")
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(audit.path), "3", "60000"],
        capture_output=True,
        text=True,
        input="go\n",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert "panic could not be written to the log" in done.stdout, done.stderr
    assert "what was asked for was done all the same" in done.stdout
    assert all(json.loads(line) for line in audit.path.read_bytes().splitlines())
    assert audit.append("person", "keep") is None
    assert audit.verify().broken_at is None


def test_a_log_that_cannot_be_written_or_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    audit = Audit(tmp_path / "audit.jsonl")
    problem = audit.append("person", "panic")
    assert isinstance(problem, BadFile)
    assert "panic could not be written" in problem.message
    with pytest.raises(BadFile, match="cannot be read"):
        audit.verify()


def test_a_history_that_cannot_be_used_does_not_keep_an_entry_out(audit: Audit) -> None:
    audit.path.parent.mkdir()
    audit.path.with_name("history.sqlite").mkdir()
    problem = audit.append("person", "panic")
    assert problem is not None
    assert "history" in problem.message
    assert [each.act for each in audit.entries()] == ["panic"]


@pytest.mark.parametrize(
    "details",
    [{"words": "caf\udce9"}, {"path": Path("/x")}, {1: {"deep": {2, 3}}}, {"odd": float("nan")}, {"big": 10**30}],
    ids=["no-unicode", "path", "numbers", "nan", "big"],
)
def test_odd_details_are_written_as_far_as_they_can_be(audit: Audit, details: dict[str, object]) -> None:
    assert audit.append("caf\udce9", "keep", details) is None
    audit.append("person", "keep")
    assert audit.verify().broken_at is None
    assert audit.verify().entries == 2


def test_endless_details_are_cut(audit: Audit) -> None:
    audit.append("m", "plan", {"words": "x" * 10_000_000})
    assert audit.path.stat().st_size < 100_000
    assert audit.entries()[0].details["bytes"] > 10_000_000
    assert audit.verify().broken_at is None
