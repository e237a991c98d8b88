"""docs/VERIFIER.md lists every rule with its reason, as the verifier has them."""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.verifier.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "VERIFIER.md"


def table() -> str:
    """The rules as the page shows them."""
    rows = [f"| {rule.stage} | `{name}` | {rule.title} | {rule.why} |" for name, rule in RULES.items()]
    return "\n".join(["| stage | rule | what is wrong | why it matters |", "| --- | --- | --- | --- |", *rows])


def test_the_page_lists_all_rules() -> None:
    _, _, written = PAGE.read_text().partition("## Rules\n")
    assert written.strip() == table(), "write it anew: python -m tests.verifier.test_documentation"


if __name__ == "__main__":
    head, mark, _ = PAGE.read_text().partition("## Rules\n")
    PAGE.write_text(f"{head}{mark}{table()}\n")
