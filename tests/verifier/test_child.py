"""The child that looks at objects: whatever it is given, it ends, does no harm, and its answer is a finding."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

from schedtui.backend.bpf.compiler import OBJECT_LIMIT_BYTES, compile_bpf
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.verifier import child
from schedtui.backend.verifier.child import examine
from schedtui.backend.verifier.rules import RULES

LIBRARY = load_library()
SOURCES = Path(__file__).parent / "sources"


def object_of(name: str) -> bytes:
    return compile_bpf(Path(LIBRARY.policy(name).source))


def only_finding(obj: bytes) -> str:
    """The rule that an object fails by, before its programs are looked at."""
    first, second = examine(obj)
    assert (first.name, first.verdict) == ("object", "fail")
    assert (second.name, second.findings) == ("bytecode", ())
    (finding,) = first.findings
    assert finding.rule in RULES and finding.meaning and finding.remedy
    assert "Traceback" not in finding.details
    return finding.rule


def test_a_policy_that_ships_passes_both_stages() -> None:
    first, second = examine(object_of("fair"), LIBRARY.policy("fair").tunables)
    assert (first.name, first.verdict, first.findings) == ("object", "pass", ())
    assert (second.name, second.verdict) == ("bytecode", "pass")
    assert first.seconds > 0


def test_what_it_is_told_of_tunables_reaches_the_object_stage() -> None:
    first, _ = examine(object_of("fair"), LIBRARY.policy("interactive").tunables)
    assert {each.rule for each in first.findings} == {"tunable-out-of-bounds"}


@pytest.mark.parametrize(
    ("obj", "rule"),
    [
        (b"", "not-an-object"),
        (b"\n" * 1000, "not-an-object"),
        (b"\x7fELF", "not-an-object"),
        (Path("/bin/true").read_bytes(), "wrong-architecture"),
        (b"\x7fELF" + b"\0" * OBJECT_LIMIT_BYTES, "too-large"),
    ],
    ids=["empty", "blank", "magic", "a program", "too large"],
)
def test_what_is_no_policy_is_a_finding(obj: bytes, rule: str) -> None:
    assert only_finding(obj) == rule


def test_names_in_an_object_cannot_take_the_terminal_over() -> None:
    obj = compile_bpf(SOURCES / "forbidden.bpf.c")
    assert b"\0kept\0" in obj
    first, _ = examine(obj.replace(b"\0kept\0", b"\0k\x1b[J\0"))
    shown = "".join(each.place + each.meaning for each in first.findings)
    assert "\N{REPLACEMENT CHARACTER}[J" in shown
    assert "\x1b" not in shown


def test_a_child_that_takes_too_long_is_ended_and_the_object_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TIME_LIMIT_S", 0.001)
    assert only_finding(object_of("fair")) == "not-an-object"
    assert not psutil.Process().children(recursive=True)


def test_nothing_of_the_users_is_imported_into_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('imported from where the user stands')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "msgspec.py"))
    monkeypatch.chdir(tmp_path)
    assert examine(object_of("fair"))[0].verdict == "pass"


TRIES = {
    "open a file": "open('/etc/passwd')",
    "make a file": "open('/tmp/schedtui-test-escape', 'w')",
    "open a socket": "import _socket; _socket.socket()",
    "start a program": "import os; os.execv('/bin/true', ['true']) if os.fork() else os._exit(0)",
    "take memory": "bytearray(600 << 20)",
    "write without end": "import sys; [sys.stdout.buffer.write(b'x' * (1 << 20)) for _ in range(64)]",
}


@pytest.mark.parametrize("what", TRIES)
def test_a_locked_child_cannot(what: str, tmp_path: Path) -> None:
    """As a user without privileges, as who verifies policies: root has no limit on processes."""
    script = f"import sys; sys.path += {sys.path!r}\nimport _socket\nfrom schedtui.backend.verifier.child import lock\n"
    script += f"lock()\ntry:\n    {TRIES[what]}\nexcept (OSError, MemoryError):\n    raise SystemExit(7)\n"
    with (tmp_path / "out").open("wb") as out:
        as_user = {"user": "nobody"} if os.geteuid() == 0 and what == "start a program" else {}
        if as_user:
            script = script.replace("from schedtui.backend.verifier.child import lock", lock_alone())
        done = subprocess.run(
            [sys.executable if not as_user else "/usr/bin/python3", "-c", script], stdout=out, **as_user
        )  # type: ignore[call-overload]
    assert done.returncode == 7


def lock_alone() -> str:
    """The limit itself, where another user may not read this checkout."""
    return "import resource\ndef lock(): resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))"


FUZZ = """
import random, signal, sys, time
from pathlib import Path
sys.path += sys.argv[5:]
from schedtui.backend.errors import BadFile
from schedtui.backend.model import Tunable
from schedtui.backend.verifier import bytecode
from schedtui.backend.verifier.child import lock
from schedtui.backend.verifier.elf import read_object
from schedtui.backend.verifier.object import check_object, unreadable
seed, first, last = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
wholes = [(each.read_bytes(), each.with_suffix(".code")) for each in sorted(Path(sys.argv[1]).glob("*.o"))]
wholes = [(whole, [int(word) for word in code.read_text().split()]) for whole, code in wholes]
lock()
TUNABLES = tuple(
    Tunable(name=name, description="", cost="", default=1, minimum=0, maximum=9)
    for name in ("slice_us", "max_burst_us")
)
refused = 0
for number in range(first, last):
    chance = random.Random(f"{seed} {number}")
    whole, code = chance.choice(wholes)
    damaged = bytearray(whole)
    places = chance.choice((range(len(whole)), range(len(whole)), range(64), code, code))
    for _ in range(chance.choice((1, 1, 3, 30, 300))):
        place = chance.choice(places)
        damaged[place] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
    if chance.random() < 0.1:
        del damaged[chance.randrange(len(damaged)):]
    print(number, flush=True)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        file = read_object(bytes(damaged))
        check_object(file, TUNABLES)
        bytecode.check_bytecode(file)
    except BadFile as error:
        unreadable(bytes(damaged), error)
        refused += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
print("refused", refused)
"""
"""In one child, for speed; its limits are those of every child, and an alarm ends it when an object takes 5 s."""


def places_of_code(obj: bytes) -> list[int]:
    """Where the instructions of an object lie, by a reader that is not ours."""
    sections = [each for each in ELFFile(io.BytesIO(obj)).iter_sections() if each["sh_flags"] & SH_FLAGS.SHF_EXECINSTR]
    return [place for each in sections for place in range(each["sh_offset"], each["sh_offset"] + each["sh_size"])]


AT_ONCE = 50
"""Objects for one child: it has 10 s of a CPU."""


def fuzz(folder: Path, first: int, last: int) -> None:
    (folder / "objects").mkdir()
    objects = {name: object_of(name) for name in ("fair", "fifo")}
    for name, obj in {**objects, "forbidden": compile_bpf(SOURCES / "forbidden.bpf.c")}.items():
        (folder / "objects" / f"{name}.o").write_bytes(obj)
        (folder / "objects" / f"{name}.code").write_text(" ".join(map(str, places_of_code(obj))))
    seed = random.randrange(1 << 30) if "SEED" not in os.environ else int(os.environ["SEED"])
    for start in range(first, last, AT_ONCE):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                FUZZ,
                folder / "objects",
                str(seed),
                str(start),
                str(min(start + AT_ONCE, last)),
                *sys.path,
            ],
            capture_output=True,
            text=True,
        )
        *numbers, end = done.stdout.splitlines() or [""]
        assert end.startswith("refused"), f"SEED={seed}, object {end}, {len(numbers)}: {done.stderr[-2000:]}"
        assert 0 < int(end.split()[1]) < len(numbers)


def test_damaged_objects_never_break_the_readers(tmp_path: Path) -> None:
    fuzz(tmp_path, 0, AT_ONCE)


@pytest.mark.soak
def test_ten_thousand_damaged_objects_never_break_the_readers(tmp_path: Path) -> None:
    fuzz(tmp_path, 0, 10_000)


@pytest.mark.soak
def test_damaged_objects_are_answered_with_findings_by_the_real_child() -> None:
    whole, chance = object_of("fair"), random.Random(3)
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(30):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        first, second = examine(bytes(damaged))
        assert first.verdict in ("pass", "warn", "fail") and second.verdict in ("pass", "warn", "fail")
        for each in (*first.findings, *second.findings):
            assert each.rule != "too-hard-to-follow" or not each.details, each.details
            assert "broke the reader" not in each.meaning, each.details
