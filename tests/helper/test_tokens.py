"""The helper's tokens: what they permit, what is refused and why, and what survives on disk."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schedtui.backend.errors import BadFile, NotProven
from schedtui.backend.helper import tokens
from schedtui.backend.helper.tokens import LASTS_S, Key, Tokens, Wanted, check
from schedtui.backend.model import KernelId, Report, Stage

NOW = 1_800_000_000.0
KERNEL = KernelId(release="6.18.15", build_id="ab" * 20, btf_hash="cd" * 32)
WANTED = Wanted(digest="12" * 32, settings={"slice_us": 3000}, kernel=KERNEL, rules="rules-1")


def report_of(wanted: Wanted = WANTED, **changes: Any) -> Report:
    report = Report(
        name="fair",
        verdict="pass",
        digest=wanted.digest,
        settings=dict(wanted.settings),
        kernel=wanted.kernel,
        stages=(Stage(name="kernel", verdict="pass", seconds=7.0),),
        quick=False,
        made_at=NOW,
        rules=wanted.rules,
    )
    return replace(report, **changes)


def issued(place: Path, wanted: Wanted = WANTED, now: float = NOW) -> tuple[Tokens, str]:
    kept = Tokens(place)
    return kept, kept.issue(report_of(wanted), wanted, generated=False, now=now)


def test_what_passed_may_be_loaded_again_by_a_helper_that_started_anew(tmp_path: Path) -> None:
    _, text = issued(tmp_path)
    again, token, report = Tokens(tmp_path).find(WANTED, NOW + 60)
    assert again == text
    assert token.name == report.name == "fair"
    check(Tokens(tmp_path).key.read(text), WANTED, NOW + 60)


@pytest.mark.parametrize(
    ("asked", "later_s", "refusal"),
    [
        (replace(WANTED, digest="13" * 32), 0, "another object"),
        (replace(WANTED, settings={"slice_us": 3001}), 0, "other settings"),
        (replace(WANTED, settings={"slice_us": True}), 0, "other settings"),
        (replace(WANTED, settings={}), 0, "other settings"),
        (replace(WANTED, arguments=("--evil",)), 0, "other arguments"),
        (replace(WANTED, kernel=replace(KERNEL, build_id="ee")), 0, "another kernel"),
        (replace(WANTED, kernel=replace(KERNEL, btf_hash="ee")), 0, "another kernel"),
        (replace(WANTED, rules="rules-2"), 0, "other rules"),
        (WANTED, LASTS_S, "expired"),
        (WANTED, -3600, "clock was set back"),
    ],
    ids=lambda each: str(each)[:40] if isinstance(each, str) else "",
)
def test_a_token_permits_nothing_but_what_it_is_about(
    tmp_path: Path, asked: Wanted, later_s: float, refusal: str
) -> None:
    kept, text = issued(tmp_path)
    token = kept.key.read(text)
    check(token, WANTED, NOW + LASTS_S - 1)
    with pytest.raises(NotProven, match=refusal):
        check(token, asked, NOW + later_s)
    with pytest.raises(NotProven):
        kept.find(asked, NOW + later_s)


def test_the_kernels_name_may_change_as_long_as_it_is_the_same_build(tmp_path: Path) -> None:
    kept, _ = issued(tmp_path)
    kept.find(replace(WANTED, kernel=replace(KERNEL, release="6.18.15-renamed")), NOW)


@settings(max_examples=50)
@given(st.data())
def test_no_bit_of_a_token_can_be_changed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.getbasetemp() / "bits"
    kept, text = issued(place)
    raw = bytearray(text.encode())
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with pytest.raises(NotProven):
        kept.key.read(raw.decode("latin-1"))


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda each: each.decode("latin-1")))
def test_no_text_that_was_not_signed_is_a_token(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    key = Key(tmp_path_factory.getbasetemp() / "key")
    for forged in (text, f"schedtui1.{key.id}.{text}", f"schedtui1.{key.id}.e30.{text}"):
        with pytest.raises(NotProven):
            key.read(forged)


def test_a_token_without_end_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    kept, text = issued(tmp_path)
    with pytest.raises(NotProven, match="damaged"):
        kept.key.read(text.replace(".", "." + "A" * tokens.LONGEST_TEXT, 1))


def test_a_token_of_another_computer_is_told_from_a_forged_one(tmp_path: Path) -> None:
    _, foreign = issued(tmp_path / "there")
    here, text = issued(tmp_path / "here")
    with pytest.raises(NotProven, match="another key"):
        here.key.read(foreign)
    content = base64.urlsafe_b64encode(msgspec.json.encode({"digest": "13" * 32})).decode().rstrip("=")
    form, key_id, _, mac = text.split(".")
    with pytest.raises(NotProven, match="forged"):
        here.key.read(f"{form}.{key_id}.{content}.{mac}")
    with pytest.raises(NotProven, match="forged"):  # relabelled as signed here
        here.key.read(foreign.replace(foreign.split(".")[1], here.key.id))


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"verdict": "fail"}, "did not pass"),
        ({"kernel": None}, "did not pass"),
        ({"digest": "13" * 32}, "another object"),
        ({"settings": {}}, "other settings"),
        ({"rules": "rules-0"}, "other rules"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_only_a_report_about_exactly_this_that_passed_is_signed(
    tmp_path: Path, changes: dict[str, Any], refusal: str
) -> None:
    kept = Tokens(tmp_path)
    with pytest.raises(NotProven, match=refusal):
        kept.issue(report_of(**changes), WANTED, generated=False, now=NOW)
    assert kept.kept(NOW) == ([], [])


def test_the_key_is_for_its_owner_alone_and_stays_the_same(tmp_path: Path) -> None:
    first = Key(tmp_path / "key")
    found = (tmp_path / "key").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_size == tokens.KEY_BYTES
    assert Key(tmp_path / "key").id == first.id
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def _readable(path: Path) -> None:
    path.chmod(0o640)


def _short(path: Path) -> None:
    path.write_bytes(b"short")


def _long(path: Path) -> None:
    path.write_bytes(b"x" * 100)


def _link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "spoil", [_readable, _short, _long, _link, _folder, _pipe], ids=lambda each: each.__name__.strip("_")
)
def test_a_key_that_others_could_know_is_not_used(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    Key(tmp_path / "key")
    spoil(tmp_path / "key")
    with pytest.raises(BadFile) as refused:
        Key(tmp_path / "key")
    assert "key" in refused.value.message
    assert refused.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_key_of_another_user_is_not_used(tmp_path: Path) -> None:
    Key(tmp_path / "key")
    os.chown(tmp_path / "key", 1000, 1000)
    with pytest.raises(BadFile, match="belongs to user 1000"):
        Key(tmp_path / "key")


def test_two_helpers_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from schedtui.backend.helper.tokens import Key; "
        "sys.stdin.read(1); print(Key(pathlib.Path(sys.argv[1])).id)"
    )
    gate, opens = os.pipe()
    started = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "key")], stdin=gate, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    os.close(gate)
    os.close(opens)
    assert len({each.communicate()[0] for each in started}) == 1
    assert [each.returncode for each in started] == [0, 0, 0]


def test_a_damaged_token_on_disk_is_told_and_the_others_hold(tmp_path: Path) -> None:
    kept, _ = issued(tmp_path)
    other = replace(WANTED, digest="77" * 32)
    kept.issue(report_of(other), other, generated=True, now=NOW)
    for path in (tmp_path / "tokens").iterdir():
        if b"77" * 32 in path.read_bytes():
            path.write_bytes(path.read_bytes()[:-40])
    found, problems = kept.kept(NOW)
    assert [each.digest for each in found] == [WANTED.digest]
    assert len(problems) == 1
    with pytest.raises(BadFile, match="damaged"):
        kept.find(other, NOW)
    kept.find(WANTED, NOW)


def test_a_report_on_disk_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    kept, _ = issued(tmp_path)
    (path,) = (tmp_path / "tokens").iterdir()
    path.write_bytes(path.read_bytes().replace(b'"seconds":7.0', b'"seconds":8.0'))
    with pytest.raises(BadFile, match="was changed"):
        kept.find(WANTED, NOW)


def test_another_objects_token_under_this_ones_name_permits_nothing(tmp_path: Path) -> None:
    kept, _ = issued(tmp_path)
    (mine,) = (tmp_path / "tokens").iterdir()
    other = replace(WANTED, digest="77" * 32)
    kept.issue(report_of(other), other, generated=False, now=NOW)
    (theirs,) = (each for each in (tmp_path / "tokens").iterdir() if each != mine)
    theirs.write_bytes(mine.read_bytes())
    with pytest.raises(NotProven, match="another object"):
        kept.find(other, NOW)


def test_expired_tokens_and_the_oldest_beyond_the_bound_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_KEPT", 3)
    kept = Tokens(tmp_path)
    (tmp_path / "tokens" / ".new-left").write_bytes(b"half")
    for at in range(5):
        wanted = replace(WANTED, digest=f"{at:064x}")
        kept.issue(report_of(wanted), wanted, generated=False, now=NOW + at)
    assert [each.digest[-1] for each in kept.kept(NOW + 5)[0]] == ["4", "3", "2"]
    late = replace(WANTED, digest="aa" * 32)
    kept.issue(report_of(late), late, generated=False, now=NOW + LASTS_S + 3.5)
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_a_folder_that_others_can_change_is_not_used(tmp_path: Path) -> None:
    Tokens(tmp_path / "state")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o711
    (tmp_path / "state").chmod(0o777)
    with pytest.raises(BadFile, match="Others can change"):
        Tokens(tmp_path / "state")


def test_a_full_disk_gives_no_token_and_says_so(tmp_path: Path) -> None:
    kept = Tokens(tmp_path)
    (tmp_path / "tokens").rmdir()
    with pytest.raises(BadFile, match="cannot be kept"):
        kept.issue(report_of(), WANTED, generated=False)


def test_a_report_without_end_fills_no_disk(tmp_path: Path) -> None:
    kept = Tokens(tmp_path)
    with pytest.raises(NotProven, match="longer than any real one"):
        kept.issue(report_of(note="x" * (1 << 20)), WANTED, generated=False)


def test_a_token_holds_from_now_on_when_no_time_is_given(tmp_path: Path) -> None:
    kept = Tokens(tmp_path)
    kept.issue(report_of(made_at=time.time()), WANTED, generated=False)
    kept.find(WANTED)
