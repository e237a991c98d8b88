"""Policies are found by what they are for, in words, with what they did on this computer in mind."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedtui.backend.library.catalogue import Library, load_library
from schedtui.backend.library.search import Match, Search
from schedtui.backend.store import Outcome, Store
from schedtui.paths import shipped


@pytest.fixture(scope="module")
def library() -> Library:
    """The one that ships."""
    return load_library(shipped("library"))


@pytest.fixture
def search(library: Library, tmp_path: Path) -> Search:
    """With no index and no history yet."""
    return Search(library, folder=tmp_path / "index", store=Store(tmp_path / "history.sqlite"))


def names(matches: list[Match]) -> list[str]:
    """What was found, in its order."""
    return [each.policy.name for each in matches]


@pytest.mark.parametrize(
    ("words", "among_the_first"),
    [
        ("music without crackles", {"periodic", "interactive", "scx_flash"}),
        ("many short jobs and one long one", {"longest-first"}),
        ("processor with several last-level caches", {"locality", "scx_p2dq", "scx_beerland"}),
        ("make my battery last", {"powersave", "scx_lavd"}),
        ("slowest answers of a web service", {"interactive", "layers"}),
        ("virtual machines on a cloud server", {"scx_tickless", "scx_central"}),
        ("put one program before everything else", {"focus"}),
    ],
)
def test_words_lead_to_a_policy_that_is_made_for_them(search: Search, words: str, among_the_first: set[str]) -> None:
    assert set(names(search.find(words, 3))) & among_the_first


@pytest.mark.parametrize("words", ["scx_lavd", "lavd", "  LAVD ", "lavdd", "what does lavd do"])
def test_a_name_leads_to_its_policy(search: Search, words: str) -> None:
    assert names(search.find(words, 1)) == ["scx_lavd"]


def test_no_words_list_everything_up_to_the_limit(search: Search, library: Library) -> None:
    assert names(search.find("  ", 1000)) == list(library.policies)
    assert len(search.find("", 4)) == 4


@pytest.mark.parametrize(
    "words", ["x" * 100_000, "\ud800", "\0", "' OR 1=1 --", "🎮 🎮", "games " * 10_000], ids=range(6)
)
def test_odd_words_find_something_and_break_nothing(search: Search, words: str) -> None:
    assert len(search.find(words, 3)) == 3


def test_each_match_says_why(search: Search) -> None:
    assert all(each.why for each in search.find("games", 10))


def test_what_did_well_here_comes_before_what_is_as_near_and_did_badly(library: Library, tmp_path: Path) -> None:
    store = Store(tmp_path / "history.sqlite")
    search = Search(library, folder=tmp_path / "index", store=store)
    words = "several last-level caches"
    first, second = names(search.find(words, 2))
    for name, after in ((first, 400.0), (second, 50.0)):
        for _ in range(6):
            store.add_outcome(Outcome(policy=name, metric="wakeup_p99_us", before=100.0, after=after, how="tested"))
    found = search.find(words, len(library.policies))
    assert names(found).index(second) < names(found).index(first)
    assert "wake-up p99 −50 %" in found[names(found).index(second)].measured


def test_the_index_is_kept_and_used_again(library: Library, tmp_path: Path) -> None:
    Search(library, folder=tmp_path).find("games")
    (index,) = tmp_path.iterdir()
    made = index.stat().st_ino
    Search(library, folder=tmp_path).find("games")
    assert index.stat().st_ino == made


@pytest.mark.parametrize(
    "content", [b"no database" * 100, b"", b"SQLite format 3\0" + b"\0" * 4096], ids=["text", "empty", "half"]
)
def test_a_damaged_index_is_made_anew(library: Library, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "library.sqlite").write_bytes(content)
    expected = names(Search(library, folder=tmp_path / "other").find("battery", 3))
    assert names(Search(library, folder=tmp_path).find("battery", 3)) == expected
    assert len((tmp_path / "library.sqlite").read_bytes()) > len(content)


def test_an_index_of_another_library_is_made_anew(library: Library, tmp_path: Path) -> None:
    some = Library({name: library.policies[name] for name in ("fair", "fifo")}, {}, [])
    assert len(Search(some, folder=tmp_path).find("games")) == 2
    expected = Search(library, folder=tmp_path / "other").find("several last-level caches", 5)
    assert Search(library, folder=tmp_path).find("several last-level caches", 5) == expected


def test_a_place_where_no_index_can_be_kept_does_without(library: Library, tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    assert Search(library, folder=place).find("save battery", 3)


def test_an_empty_library_finds_nothing(tmp_path: Path) -> None:
    assert Search(Library({}, {}, []), folder=tmp_path).find("games") == []
