"""Sentences as vectors, by a small model that comes with its package and needs no network.

Which sentences, and what is near to what, is left to others. The model takes half a second to load, so this
is imported by what needs it, when it needs it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schedtui.backend.errors import MissingTool

Vectors = NDArray[np.float32]
DIMENSIONS = 256
LONGEST_CHARACTERS = 2000
"""What comes after is not read: no sentence of a person is that long."""


def embed(sentences: Sequence[str]) -> Vectors:
    """One row a sentence, of length 1, so that a product of two rows is their cosine; a row of zeros for empty text.

    Raises MissingTool when the model cannot be loaded.
    """
    vectors = np.zeros((len(sentences), DIMENSIONS), dtype=np.float32)
    wanted = [(row, text) for row, text in enumerate(_plain(each) for each in sentences) if text]
    if wanted:
        found = _model().embed([text for _, text in wanted])
        length = np.linalg.norm(found, axis=1, keepdims=True)
        vectors[[row for row, _ in wanted]] = found / np.maximum(length, 1e-9)
    return vectors


def _plain(sentence: str) -> str:
    return sentence.encode(errors="ignore").decode()[:LONGEST_CHARACTERS].strip().lower()


@functools.cache
def _model() -> Any:
    try:
        import wordllama

        folder = Path(wordllama.__file__).parent
        return wordllama.WordLlama.load(dim=DIMENSIONS, disable_download=True, cache_dir=folder)
    except (ImportError, OSError, ValueError) as error:
        raise MissingTool(
            f"The model that compares sentences cannot be loaded: {error}", "Reinstall schedtui, or its wordllama."
        ) from error
