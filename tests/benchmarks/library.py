"""The library's numbers: how long a search takes. ``make bench`` prints them"""

from __future__ import annotations

import statistics
import tempfile
import time
import tomllib
from pathlib import Path

import click

from schedtui.backend.library.catalogue import load_library
from schedtui.backend.library.search import Search
from schedtui.backend.store import Store

SENTENCES = Path(__file__).parents[1] / "library" / "sentences.toml"


def search_ms(search: Search, words: str) -> float:
    """Milliseconds from words to matches."""
    began = time.monotonic()
    search.find(words)
    return (time.monotonic() - began) * 1000


def main() -> None:
    """Print them."""
    asked = [(wanted, each) for wanted, found in tomllib.loads(SENTENCES.read_text()).items() for each in found]
    with tempfile.TemporaryDirectory() as place:
        search = Search(load_library(), folder=Path(place), store=Store(Path(place) / "history.sqlite"))
        first = search_ms(search, "games")
        values = sorted(search_ms(search, words) for _, words in asked)
    click.echo(
        f"catalogue search: first {first:.0f} ms (model and index), then {statistics.median(values):.1f} ms, "
        f"p99 {values[int(len(values) * 0.99)]:.1f} ms, n={len(values)}  goal ≤ 20 ms"
    )


if __name__ == "__main__":
    main()
