"""The games: rules as values, pure and synchronous, with no I/O, no clock and no global random state.

    taboo.py, imagegame.py, referencegame.py, privateshared.py   one game a file
    wordle.py        wordle and its variants with a clue and with a critic
    rulesets.py      the names of the rule sets, and the longest reply
    fields.py        reads an instance's fields as typed values
    grids.py         grids of letters as texts, for two games
    stemmer.py       the stemmer of taboo's rules
    bots.py          the parts that all games' bots share
    playthrough.py   plays a whole episode in memory, from replies or with bots
    bot_lengths.py   estimates the length of an episode from bots' play
    clembench.py     reads the instances of a user's clembench checkout
    instances/       our own instance sets and the program that makes them

A game file has five parts, always in this order: instance, reply formats, play, scores, bots. A new game is
one file, one instance set and one entry in OWN_GAMES. GAMES also has the games of installed plug-ins."""

from __future__ import annotations

from games import imagegame, privateshared, referencegame, taboo, wordle
from harness.core.plugins import GAMES as ENTRY_POINTS
from harness.core.plugins import WithPlugins
from harness.core.protocols import Game

OWN_GAMES: dict[str, Game] = {
    "taboo": taboo.GAME,
    "wordle": wordle.GAME,
    "wordle_withclue": wordle.WITH_CLUE,
    "wordle_withcritic": wordle.WITH_CRITIC,
    "imagegame": imagegame.GAME,
    "referencegame": referencegame.GAME,
    "privateshared": privateshared.GAME,
}

GAMES = WithPlugins(OWN_GAMES, group=ENTRY_POINTS, kind=Game)
