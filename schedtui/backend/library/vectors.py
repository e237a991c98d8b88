"""Sentences as vectors, by a small model that comes with its package and needs no network.

The model is a vector for each token, and a sentence is the mean of its tokens: wordllama's files are read, and its
program is not needed, whose imports take a second. Which sentences, and what is near to what, is left to others. The
model takes a quarter of a second to load, so this is imported by what needs it, when it needs it.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from schedtui.backend.errors import MissingTool

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Vectors = NDArray[np.float32]
DIMENSIONS = 256
LONGEST_CHARACTERS = 2000
"""What comes after is not read: no sentence of a person is that long."""


class _Model(Struct, frozen=True):
    tokenizer: Tokenizer
    of_token: NDArray[np.float16]


def embed(sentences: Sequence[str]) -> Vectors:
    """One row a sentence, of length 1, so that a product of two rows is their cosine; a row of zeros for empty text.

    Raises MissingTool when the model cannot be loaded.
    """
    vectors = np.zeros((len(sentences), DIMENSIONS), dtype=np.float32)
    wanted = [(row, text) for row, text in enumerate(_plain(each) for each in sentences) if text]
    if wanted:
        model = _model()
        encoded = model.tokenizer.encode_batch([text for _, text in wanted], add_special_tokens=False)
        for (row, _), each in zip(wanted, encoded, strict=True):
            if each.ids:
                vectors[row] = model.of_token[each.ids].sum(axis=0, dtype=np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return vectors


def _plain(sentence: str) -> str:
    return sentence.encode(errors="ignore").decode()[:LONGEST_CHARACTERS].strip().lower()


@functools.cache
def _model() -> _Model:
    try:
        from safetensors import safe_open
        from tokenizers import Tokenizer

        package = importlib.util.find_spec("wordllama")
        if package is None or package.origin is None:
            raise ImportError("wordllama is not installed")
        folder = Path(package.origin).parent
        tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        with safe_open(folder / "weights" / f"l2_supercat_{DIMENSIONS}.safetensors", framework="np") as weights:
            return _Model(tokenizer, weights.get_tensor("embedding.weight"))
    except Exception as error:  # tokenizers raises Exception itself for a damaged file
        raise MissingTool(
            f"The model that compares sentences cannot be loaded: {error}", "Reinstall schedtui, or its wordllama."
        ) from error
