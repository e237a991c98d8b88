"""Generated policies are kept in git: each version whole or not at all, whatever cuts a write short."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schedtui.backend.errors import BadFile, MissingTool, UnknownName
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.library.generated import Generated
from schedtui.backend.model import Report
from tests.library.test_catalogue import POLICY, PRESETS, add_policy

REPORT = Report(
    name="mine",
    verdict="pass",
    digest="d" * 64,
    settings={},
    kernel=None,
    stages=(),
    quick=False,
    made_at=1.0,
    rules="1",
)


@pytest.fixture
def kept(tmp_path: Path) -> Generated:
    """A repository that does not exist yet."""
    return Generated(tmp_path / "data" / "generated")


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    """The policy.toml that somebody wrote."""
    return written(tmp_path, "mine")


def written(folder: Path, name: str) -> Path:
    """A policy's entry, beside its source."""
    place = folder / "work"
    place.mkdir(exist_ok=True)
    return add_policy(place, name, POLICY.replace("plain", name))


def changed(entry: Path, line: str) -> Path:
    """With another source."""
    (entry.parent / f"{entry.parent.name}.bpf.c").write_text(line + "\n")
    return entry


def test_before_the_first_policy_there_is_nothing_and_nothing_is_made(kept: Generated) -> None:
    assert kept.names() == []
    assert not kept.folder.exists()


def test_a_policy_is_kept_with_its_source_report_and_maker(kept: Generated, draft: Path) -> None:
    kept.add(draft, made_by="a model", parent="fair", report=REPORT, message="Try longer turns")
    assert kept.names() == ["mine"]
    assert (kept.meta("mine").made_by, kept.meta("mine").parent, kept.meta("mine").state) == (
        "a model",
        "fair",
        "draft",
    )
    names = {each.name for each in (kept.folder / "mine").iterdir()}
    assert names == {"policy.toml", "mine.bpf.c", "meta.json", "report.json"}
    assert [each.message for each in kept.versions("mine")] == ["Try longer turns"]


def test_each_version_is_one_commit_and_a_difference_can_be_seen(kept: Generated, draft: Path) -> None:
    first = kept.add(changed(draft, "// one"), made_by="me", parent="fair")
    second = kept.add(changed(draft, "// two"), made_by="me")
    assert [each.commit for each in kept.versions("mine")] == [second.commit, first.commit]
    assert kept.meta("mine").parent == "fair"
    for difference in (
        kept.diff("mine"),
        kept.diff("mine", first.commit[:8]),
        kept.diff("mine", first.commit, second.commit),
    ):
        assert "-// one\n+// two" in difference


def test_the_first_version_differs_from_nothing(kept: Generated, draft: Path) -> None:
    kept.add(changed(draft, "// one"), made_by="me")
    assert "+// one" in kept.diff("mine")


def test_a_draft_is_promoted_and_retired_and_brought_back(kept: Generated, draft: Path) -> None:
    kept.add(draft, made_by="me")
    for act, state in ((kept.promote, "promoted"), (kept.retire, "retired"), (kept.promote, "promoted")):
        act("mine")
        assert kept.meta("mine").state == state
    assert [each.message for each in kept.versions("mine")][:3] == ["mine: promoted", "mine: retired", "mine: promoted"]


def test_the_catalogue_offers_drafts_as_such_and_nothing_retired(kept: Generated, draft: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    add_policy(shipped, "plain", POLICY)
    (shipped / "presets.toml").write_text(PRESETS)
    kept.add(draft, made_by="me")
    offered = load_library(shipped, kept.folder.parent).policy("mine")
    assert (offered.origin, offered.title) == ("generated", "Plain (draft)")
    kept.promote("mine")
    assert load_library(shipped, kept.folder.parent).policy("mine").title == "Plain"
    kept.retire("mine")
    assert "mine" not in load_library(shipped, kept.folder.parent).policies


def test_an_export_holds_the_version_that_was_asked_for(kept: Generated, draft: Path, tmp_path: Path) -> None:
    first = kept.add(changed(draft, "// one"), made_by="me")
    kept.add(changed(draft, "// two"), made_by="me")
    assert (kept.export("mine", tmp_path / "new") / "mine.bpf.c").read_text() == "// two\n"
    assert (kept.export("mine", tmp_path / "old", first.commit[:10]) / "mine.bpf.c").read_text() == "// one\n"
    with pytest.raises(BadFile, match="exists already"):
        kept.export("mine", tmp_path / "new")


@pytest.mark.parametrize("name", ["mine", "../mine", "", "--all"])
def test_an_unknown_name_is_told(kept: Generated, name: str) -> None:
    for ask in (kept.versions, kept.promote, kept.retire, kept.diff, kept.meta):
        with pytest.raises(UnknownName):
            ask(name)


@pytest.mark.parametrize("version", ["0", "zzzz", "--output=x", "HEAD"])
def test_an_unknown_version_is_told(kept: Generated, draft: Path, version: str) -> None:
    kept.add(draft, made_by="me")
    with pytest.raises(UnknownName):
        kept.diff("mine", version)


@pytest.mark.parametrize(
    ("old", "new"), [('name = "mine"', 'name = "../mine"'), ("minimum = 100", ""), ('title = "', "")]
)
def test_an_entry_that_is_not_sound_is_refused_and_nothing_is_kept(
    kept: Generated, draft: Path, old: str, new: str
) -> None:
    draft.write_text(draft.read_text().replace(old, new, 1))
    with pytest.raises(BadFile, match=r"policy\.toml:"):
        kept.add(draft, made_by="me")
    assert kept.names() == []


def test_several_writers_wait_for_each_other(kept: Generated, tmp_path: Path) -> None:
    entries = [written(tmp_path, f"mine-{number}") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda entry: Generated(kept.folder).add(entry, made_by="me"), entries))
    assert [len(kept.versions(name)) for name in kept.names()] == [1, 1, 1, 1]


def test_nothing_of_the_users_own_git_configuration_is_used(
    kept: Generated, draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "pre-commit").chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f"[core]\nhooksPath = {hooks}\n[commit]\ngpgSign = true\n[diff]\nexternal = false\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    kept.add(changed(draft, "// one"), made_by="me")
    assert "+// one" in kept.diff("mine")


def test_without_git_it_says_what_to_install(kept: Generated, draft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingTool, match="git is not installed"):
        kept.add(draft, made_by="me")


def failing_git(folder: Path, then: str) -> str:
    """A PATH whose git does ``then`` instead of a commit, with the index locked as git leaves it when it is killed."""
    folder.mkdir()
    git = folder / "git"
    real = shutil.which("git")
    git.write_text(
        "#!/bin/sh\n"
        'for word; do case $word in --git-dir=*) dir=${word#--git-dir=};; commit) touch "$dir/index.lock"\n'
        f"{then};; esac; done\n"
        f'exec {real} "$@"\n'
    )
    git.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_write_cut_short_by_a_kill_leaves_the_version_before(kept: Generated, draft: Path, tmp_path: Path) -> None:
    kept.add(changed(draft, "// one"), made_by="me")
    changed(draft, "// two")
    program = (
        "import sys; from pathlib import Path; from schedtui.backend.library.generated import Generated\n"
        "Generated(Path(sys.argv[1])).add(Path(sys.argv[2]), made_by='me')"
    )
    path = failing_git(tmp_path / "bin", "kill -9 $PPID; exit 1")
    command = [sys.executable, "-c", program, str(kept.folder), str(draft)]
    assert subprocess.run(command, env={**os.environ, "PATH": path}).returncode == -signal.SIGKILL
    kept.add(written(tmp_path, "other"), made_by="me")
    assert (kept.folder / "mine" / "mine.bpf.c").read_text() == "// one\n"
    assert len(kept.versions("mine")) == 1
    assert kept.names() == ["mine", "other"]


def test_a_write_that_git_refuses_leaves_the_version_before(
    kept: Generated, draft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.add(changed(draft, "// one"), made_by="me")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", failing_git(tmp_path / "bin", "echo 'fatal: No space left on device' >&2; exit 128"))
        with pytest.raises(BadFile, match="No space left on device"):
            kept.add(changed(draft, "// two"), made_by="me")
        with pytest.raises(BadFile, match="No space left on device"):
            kept.add(written(tmp_path, "other"), made_by="me")
    assert (kept.folder / "mine" / "mine.bpf.c").read_text() == "// one\n"
    assert kept.names() == ["mine"]
    kept.add(changed(draft, "// two"), made_by="me")
    assert len(kept.versions("mine")) == 2


def test_a_place_that_cannot_be_written_is_told(draft: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadFile, match="cannot be written"):
        Generated(tmp_path / "file" / "generated").add(draft, made_by="me")
