"""The library from the command line: list, show, search, and the life of a generated policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.deploy import loadable
from schedtui.backend.library.catalogue import load_library
from schedtui.backend.model import Finding, KernelId, Report, Stage, digest_of
from schedtui.backend.store import NoteRow, Store
from schedtui.backend.verifier import reports
from schedtui.paths import cache_dir
from tests.cli.commands import schedtui
from tests.library.test_catalogue import POLICY, add_policy


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The variables of a user who has nothing yet, but what was learned from the example sentences."""
    learned = tmp_path / "cache" / "schedtui" / "intents"
    learned.parent.mkdir(parents=True)
    learned.symlink_to(cache_dir() / "intents")
    return {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_the_list_holds_what_is_built_in_and_what_is_not_installed(home: dict[str, str]) -> None:
    spoken = schedtui("library", "list", "--json", **home).spoken
    entries = {each["name"]: each for each in spoken["policies"]}
    assert entries["fair"] == {
        "name": "fair",
        "title": entries["fair"]["title"],
        "summary": entries["fair"]["summary"],
        "origin": "built-in",
        "available": True,
    }
    assert entries["scx_lavd"]["origin"] == "external"
    assert spoken["problems"] == []


@pytest.mark.slow
def test_one_is_shown_with_what_it_is_for_its_limits_and_tunables(home: dict[str, str]) -> None:
    told = schedtui("library", "show", "fair", **home).out
    for word in ("For", "Not for", "Limits", "slice_us"):
        assert word in told
    spoken = schedtui("library", "show", "scx_lavd", "--json", **home).spoken
    assert spoken["policy"]["binary"] == "scx_lavd"
    assert spoken["outcomes"] == []


@pytest.mark.slow
def test_what_is_proven_is_shown_for_each_kernel(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not verified yet" in schedtui("library", "show", "fair", **home).out
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    digest = digest_of(loadable(load_library().policy("fair"), {}))
    for release, verdict in (("6.18.15+deb13-cloud-amd64", "pass"), ("7.3.4+deb13-cloud-amd64", "fail")):
        kernel = KernelId(release=release, build_id=release, btf_hash=release)
        lost = Finding(rule="lost-task", severity="error", place="fair", meaning="A task is lost.", remedy="")
        stage = Stage(name="kernel", verdict=verdict, seconds=1.0, findings=(lost,) if verdict == "fail" else ())
        reports.save(
            Report(
                name="fair",
                verdict=verdict,
                digest=digest,
                settings={},
                kernel=kernel,
                stages=(stage,),
                quick=False,
                made_at=1e9,
                rules=reports.rules_version(),
            )
        )
    told = schedtui("library", "show", "fair", **home).out
    assert "✓ 6.18.15  proven  2001-09-09" in told
    assert "✗ 7.3.4  failed: lost-task  2001-09-09" in told
    spoken = schedtui("library", "show", "fair", "--json", **home).spoken["reports"]
    assert sorted(each["verdict"] for each in spoken) == ["fail", "pass"]


def test_an_unknown_name_ends_with_a_near_one(home: dict[str, str]) -> None:
    ended = schedtui("library", "show", "fiar", **home)
    assert ended.code == 2
    assert "“fair”" in ended.err


@pytest.mark.slow
def test_words_find_a_policy(home: dict[str, str]) -> None:
    spoken = schedtui("library", "search", "sound", "with", "small", "buffers", "--limit", "3", "--json", **home).spoken
    assert len(spoken["matches"]) == 3
    assert {"interactive", "periodic", "scx_flash"} & {each["name"] for each in spoken["matches"]}


def test_a_broken_entry_of_the_user_is_named_and_hides_nothing(home: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "data" / "schedtui" / "policies"
    place.mkdir(parents=True)
    add_policy(place, "broken", "name = [")
    spoken = schedtui("library", "list", "--json", **home).spoken
    assert len(spoken["problems"]) == 1
    assert "policy.toml:1:" in spoken["problems"][0]
    assert len(spoken["policies"]) > 10


@pytest.mark.slow
def test_a_policy_is_kept_promoted_shown_and_retired(home: dict[str, str], tmp_path: Path) -> None:
    entry = add_policy(tmp_path, "mine", POLICY.replace("plain", "mine"))
    kept = schedtui("library", "add", str(entry.parent), "--made-by", "a model", "--parent", "fair", "--json", **home)
    assert kept.spoken["name"] == "mine"
    assert kept.spoken["verdict"] == "fail"  # its source is empty
    assert (tmp_path / "data" / "schedtui" / "generated" / "mine" / "report.json").is_file()
    assert "(draft)" in schedtui("library", "list", **home).out
    assert schedtui("library", "promote", "mine", **home).code == 0
    told = schedtui("library", "versions", "mine", "--json", **home).spoken
    assert (told["meta"]["state"], told["meta"]["made_by"], len(told["versions"])) == ("promoted", "a model", 2)
    assert "+name" in schedtui("library", "diff", "mine", **home).out
    assert schedtui("library", "export", "mine", str(tmp_path / "out"), **home).code == 0
    assert (tmp_path / "out" / "mine" / "mine.bpf.c").is_file()
    assert schedtui("library", "retire", "mine", **home).code == 0
    assert "mine" not in schedtui("library", "list", **home).out


def test_a_policy_can_be_kept_unproven(home: dict[str, str], tmp_path: Path) -> None:
    entry = add_policy(tmp_path, "mine", POLICY.replace("plain", "mine"))
    told = schedtui("library", "add", str(entry.parent), "--no-verify", **home).out
    assert "kept as a draft" in told
    assert "not verified: it was not asked for" in told


@pytest.mark.slow
def test_what_was_learned_of_a_policy_is_shown(home: dict[str, str], tmp_path: Path) -> None:
    store = Store(tmp_path / "data" / "schedtui" / "history.sqlite")
    store.add_note(NoteRow(policy="fair", class_id="gaming", text="Short turns helped the game here."))
    assert "Short turns helped the game here." in schedtui("library", "show", "fair", **home).out
    assert schedtui("library", "show", "fifo", "--json", **home).spoken["learned"] == []


@pytest.mark.slow
def test_a_damaged_history_is_told_of_and_hides_nothing(home: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "data" / "schedtui" / "history.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a history" * 100)
    told = schedtui("library", "show", "fair", **home).out
    assert "slice_us" in told
    assert "The history was damaged" in told


@pytest.mark.parametrize("name", ["fair", "gaming"])
def test_a_name_that_is_taken_is_refused(home: dict[str, str], tmp_path: Path, name: str) -> None:
    entry = add_policy(tmp_path, name, POLICY.replace("plain", name))
    ended = schedtui("library", "add", str(entry.parent), **home)
    assert ended.code == 1
    assert "already the name" in ended.err
