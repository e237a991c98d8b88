"""What an object offers, which settings it takes, and what happens to bytes that are no object."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from schedtui.backend.bpf.compiler import compile_bpf
from schedtui.backend.bpf.loader import load_probe, load_scheduler, read_object
from schedtui.backend.errors import BadFile, BadTunable
from schedtui.backend.model import Setting
from schedtui.paths import shipped

SOURCES = Path(__file__).parent / "sources"


@pytest.fixture(scope="module")
def settings_object() -> bytes:
    return compile_bpf(SOURCES / "settings.bpf.c")


def test_tunables_are_the_const_volatile_globals_with_the_values_of_the_source(settings_object: bytes) -> None:
    assert read_object(settings_object).tunables == {
        "slice_us": 5000,
        "offset": -3,
        "tiny": 7,
        "enabled": True,
        "who": "nobody",
    }


def test_statistics_are_the_plain_numbers_that_are_not_static(settings_object: bytes) -> None:
    found = read_object(settings_object).statistics
    assert found == ("nr_slice_us", "seen_offset", "seen_tiny", "seen_enabled", "who_begins")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("slice_ms", 1, "Did you mean slice_us?"),
        ("sliceus", 1, "Did you mean slice_us?"),
        ("zzz", 1, "no tunable “zzz”"),
        ("nr_slice_us", 1, "not a tunable"),
        ("hidden_constant", 1, "no tunable"),
        ("built_in", 1, "not a tunable"),
        ("slice_us", -1, "0 to 18446744073709551615"),
        ("slice_us", 1 << 64, "0 to 18446744073709551615"),
        ("slice_us", "fast", "holds a number"),
        ("slice_us", True, "holds a number"),
        ("offset", 1 << 31, "-2147483648 to 2147483647"),
        ("tiny", 256, "0 to 255"),
        ("enabled", 2, "0 to 1"),
        ("enabled", "yes", "true or false"),
        ("who", "sixteen letters!", "at most 15 bytes"),
        ("who", "ümläuteümläute", "at most 15 bytes"),
        ("who", "a\0b", "at most 15 bytes"),
        ("who", 7, "holds a text"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_name(
    settings_object: bytes, name: str, value: Setting, said: str
) -> None:
    with pytest.raises(BadTunable) as caught:
        load_scheduler(settings_object, {name: value}, may_attach=lambda: False)
    assert name in caught.value.message
    assert said in caught.value.message


def test_a_refused_name_is_followed_by_all_that_exist(settings_object: bytes) -> None:
    with pytest.raises(BadTunable) as caught:
        load_scheduler(settings_object, {"zzz": 1}, may_attach=lambda: False)
    assert caught.value.remedy == "It has: slice_us, offset, tiny, enabled, who."


@pytest.mark.parametrize(
    "content", [b"", b"int main() {}", b"\x7fELF", b"\x7fELF" + b"nonsense" * 1000, Path(sys.executable).read_bytes()]
)
def test_bytes_that_are_no_policy_are_refused(content: bytes) -> None:
    with pytest.raises(BadFile):
        load_scheduler(content, {}, may_attach=lambda: False)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.99])
def test_an_object_that_was_cut_off_is_refused(settings_object: bytes, kept: float) -> None:
    with pytest.raises(BadFile):
        read_object(settings_object[: int(len(settings_object) * kept)])


def test_a_probe_is_not_a_scheduler() -> None:
    with pytest.raises(BadFile, match="not a scheduler's"):
        load_scheduler(compile_bpf(shipped("bpf") / "probes" / "wakeup_latency.bpf.c"), {}, may_attach=lambda: False)


def test_a_source_without_a_scheduler_is_not_a_policy(tmp_path: Path) -> None:
    (tmp_path / "empty.bpf.c").write_text("int x = 1;\n")
    with pytest.raises(BadFile, match="exactly one scheduler"):
        load_scheduler(compile_bpf(tmp_path / "empty.bpf.c", cache=tmp_path), {}, may_attach=lambda: False)


def test_a_map_that_the_probe_does_not_have_is_named(settings_object: bytes) -> None:
    with pytest.raises(BadFile, match="no map “cpus”"):
        load_probe(settings_object, map_entries={"cpus": 4})


DAMAGE = """
import random, sys
from pathlib import Path
from schedtui.backend.bpf.loader import read_object
from schedtui.backend.errors import BadFile
whole, seed = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
chance, refused = random.Random(seed), 0
for _ in range(400):
    damaged = bytearray(whole)
    for _ in range(chance.choice((1, 3, 30))):
        damaged[chance.randrange(len(damaged))] = chance.choice((0, 127, 255, chance.randrange(256)))
    try:
        read_object(bytes(damaged))
    except BadFile:
        refused += 1
print(refused)
"""


def test_damaged_objects_never_bring_the_process_down(settings_object: bytes, tmp_path: Path) -> None:
    (tmp_path / "object").write_bytes(settings_object)
    seed = random.randrange(1 << 30)
    done = subprocess.run(
        [sys.executable, "-c", DAMAGE, str(tmp_path / "object"), str(seed)], capture_output=True, text=True
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert int(done.stdout) > 0
