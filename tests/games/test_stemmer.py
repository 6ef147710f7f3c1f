from __future__ import annotations

import subprocess
import sys

import pytest

from games.stemmer import stem


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("international", "intern"),
        ("organization", "organ"),
        ("universal", "univers"),
        ("added", "ad"),
        ("responsible", "respons"),
    ],
)
def test_stems_are_those_of_nltk(word: str, expected: str) -> None:
    """The stems are those of nltk's Snowball stemmer; other stemmers of that name give other stems."""
    assert stem(word) == expected


STEMMING = """
import sys
from games.stemmer import stem
class Once:
    def find_spec(self, name, path=None, target=None):
        if name == REFUSED:
            sys.meta_path.remove(self)
            raise ImportError(name)
sys.meta_path.insert(0, Once())
assert stem("running") == "run"
assert REFUSED or not {"numpy", "scipy"} & set(sys.modules)
from nltk.metrics import BigramAssocMeasures
print(BigramAssocMeasures.fisher(20, (42, 20), 14307668))
"""


@pytest.mark.parametrize("refused", ["", "nltk.stem.porter"])
def test_stemming_leaves_nltk_whole(refused: str) -> None:
    """Stemming loads neither scipy nor numpy, and a later import of nltk is whole.

    Where the stemmer's modules cannot be loaded alone, nltk is imported whole."""
    ended = subprocess.run(
        [sys.executable, "-c", f"REFUSED = {refused!r}\n{STEMMING}"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert 0.0 <= float(ended.stdout) <= 1.0
