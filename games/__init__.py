"""Rules and their words: pure, synchronous games as values. A new game is one file and one entry here."""

from __future__ import annotations

from games import imagegame, privateshared, referencegame, taboo, wordle
from harness.core.protocols import Game

GAMES: dict[str, Game] = {
    "taboo": taboo.GAME,
    "wordle": wordle.GAME,
    "wordle_withclue": wordle.WITH_CLUE,
    "wordle_withcritic": wordle.WITH_CRITIC,
    "imagegame": imagegame.GAME,
    "referencegame": referencegame.GAME,
    "privateshared": privateshared.GAME,
}
