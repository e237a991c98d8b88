"""``schedtui classify``: what a sentence in plain words is taken for; nothing is looked at or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from schedtui.commands.options import json_option
from schedtui.console import Console

if TYPE_CHECKING:
    from schedtui.backend.library.intents import Intent

_OTHERS = 2


@click.command()
@click.argument("words", nargs=-1, required=True)
@json_option
def classify(words: tuple[str, ...], as_json: bool) -> None:
    """Say in plain words what you do; see which kind of work it is taken for, and by which examples.

    For example: schedtui classify "my game stutters while obs records"
    """
    from schedtui.backend.library.intents import classify as read

    sentence = " ".join(" ".join(words).split())
    intent = read(sentence)
    others = [each for each in intent.candidates if each.class_id != intent.reading][:_OTHERS]
    data = {
        "words": sentence,
        "class": intent.reading,
        "confidence": round(intent.confidence, 3),
        "nearest": list(intent.nearest),
        "others": [{"class": each.class_id, "score": round(each.score, 3), "nearest": each.example} for each in others],
    }
    Console(as_json).result(data, _in_words(intent))


def _in_words(intent: Intent) -> str:
    from schedtui.backend.library.catalogue import CLASSES

    if intent.reading in CLASSES:
        lines = [f"{intent.reading}: {CLASSES[intent.reading]} ({intent.confidence:.0%} sure)"]
    else:
        lines = [
            f"unknown: nothing that a CPU scheduler can help with, as far as it is understood "
            f"({intent.confidence:.0%} sure)"
        ]
    lines += [f"  like “{each}”" for each in intent.nearest]
    lines += [
        f"  else {each.class_id}, like “{each.example}”"
        for each in intent.candidates[: _OTHERS + 1]
        if each.class_id != intent.reading
    ][:_OTHERS]
    return "\n".join(lines)
