"""The stemmer of taboo's published rules: nltk's Snowball stemmer for English.

Knows how nltk is laid out on disk. Keeps: nothing else of nltk is loaded, and whoever imports nltk later gets
the whole package. Other releases of a Snowball stemmer give other stems, and the published scores depend on
these."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from types import ModuleType

CHARACTERS_REMOVED_MAX = 40
"""An upper bound of the characters that the stemmer takes off a word. A word that is longer than every
forbidden stem by more than this cannot match one, so it needs no stemming, whose cost grows with the square
of the word's length."""

_loading = Lock()


@lru_cache(maxsize=1 << 15)
def stem(word: str) -> str:
    """Returns the stem of a word in lower case."""
    return _stemmer()(word)


@cache
def _stemmer() -> Callable[[str], str]:
    """Loads the stemmer's few files without the rest of nltk.

    `import nltk` loads all of nltk, and numpy and scipy where they are installed: that takes longer than
    anything else at the start of a sweep. So the stemmer's modules are loaded under empty parent packages,
    and all of these modules are removed from `sys.modules` afterwards. This must happen before play starts: a
    thread that imports nltk at this very moment would get an empty package."""
    with _loading:
        if "nltk" not in sys.modules:
            sys.modules.update(_empty_parents())
            try:
                return _import_snowball()
            except ImportError:
                pass  # this nltk release needs more of itself: import it whole, below
            finally:
                for name in list(sys.modules):  # a copy, because other threads may be importing
                    if name.partition(".")[0] == "nltk":
                        del sys.modules[name]
        return _import_snowball()


def _import_snowball() -> Callable[[str], str]:
    stemmer: Callable[[str], str] = import_module("nltk.stem.snowball").SnowballStemmer("english").stem
    return stemmer


def _empty_parents() -> Iterator[tuple[str, ModuleType]]:
    """Makes empty packages at nltk's paths; the stemmer imports `stopwords` but never uses it."""
    found = find_spec("nltk")
    folder = Path(found.origin).parent if found and found.origin else Path()
    for name in ("nltk", "nltk.stem", "nltk.corpus"):
        package = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        package.stopwords = None  # type: ignore[attr-defined]
        yield name, package
