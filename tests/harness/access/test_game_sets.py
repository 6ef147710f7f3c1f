"""The games of a sweep: which instances and rules its file chooses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from games import GAMES
from harness.access.context import RunContext, default_store_path
from harness.access.game_sets import game_sets, items_of, known_instances, user_path, warm_up
from harness.config.episode_plans import BALANCED, FIRST
from harness.config.load import parse_sweep
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError
from harness.core.vocabulary import EpisodePlan

METHODS = "[models.m.methods.a]\nbots = {}\n[models.m.methods.b]\nbots = {}\n"


def sweep(games: str, rest: str = "") -> SweepSpec:
    text = f'name = "s"\n{games}{METHODS}{rest}'
    return parse_sweep(text, source="s.toml", known_games=list(GAMES))


def test_the_default_is_our_set_by_the_first_rules() -> None:
    """Without keys a game has all our instances and its first rule set; a key chooses otherwise."""
    sets = game_sets(sweep('[games.taboo]\n[games.wordle]\nrules = "v1.6"\nitems = 4\n'), Path("s.toml"))
    taboo, wordle = sets["taboo"], sets["wordle"]
    assert (taboo.rules, taboo.seats, taboo.turns) == ("v1.6b", 2, GAMES["taboo"].turns_typical)
    assert {one.content_hash for one in taboo.instances} == {
        one.content_hash for one in GAMES["taboo"].instances()
    }
    assert (wordle.rules, wordle.seats, len(wordle.instances)) == ("v1.6", 1, 4)


@pytest.mark.parametrize(
    ("games", "rest", "message"),
    [
        (
            '[games.taboo]\nrules = "v9"\n',
            "",
            r"taboo\.rules: 'v9' is not a rule set of this game; known: v1\.6b, v1\.6",
        ),
        (
            '[games.taboo]\nexperiments = ["rar"]\n',
            "",
            r"taboo\.experiments: no experiment 'rar'; did you mean \"rare\"",
        ),
        ('[games.taboo]\ninstances = "mine"\n', "", r"taboo\.instances: 'mine' is neither \"own\" nor"),
        ('[games.taboo]\nreprompts = { length = "x" }\n', "", r"reprompts\.length: unknown kind of mistake"),
        ("[games.wordle]\n", '[[pairs]]\nseats = ["m/a", "m/b"]\n', "no game of two seats"),
        (
            "[games.wordle]\n[games.taboo]\n",
            '[[pairs]]\nseats = ["m/a", "m/b"]\ngames = ["wordle"]\n',
            "'wordle' has one seat; games of two seats here: taboo",
        ),
    ],
)
def test_what_cannot_be_played_is_refused(games: str, rest: str, message: str) -> None:
    """Each mistake is one error with its place and what would do."""
    with pytest.raises(SpecError, match=message):
        game_sets(sweep(games, rest), Path("s.toml"))


def test_a_pair_with_a_game_of_two_seats_is_accepted() -> None:
    """A pair plays the games of two seats; a game of one seat beside them does not matter."""
    pairs = '[[pairs]]\nseats = ["m/a", "m/b"]\ngames = ["taboo"]\n'
    assert game_sets(sweep("[games.wordle]\n[games.taboo]\n", pairs), Path("s.toml")).keys() == {
        "wordle",
        "taboo",
    }


def test_reprompts_make_another_item() -> None:
    """The user's words reach the instance and its hash; the same words give the same hash."""
    plain, first, again = (
        game_sets(sweep(f"[games.wordle]\nitems = 1\n{reprompts}"), Path("s.toml"))["wordle"].instances[0]
        for reprompts in ("", *['reprompts = { length = "five letters" }\n'] * 2)
    )
    assert first.fields["reprompts"] == {"length": "five letters"}
    assert first.content_hash == again.content_hash != plain.content_hash


def test_instances_are_found_by_item() -> None:
    """Those of the sweep are found, and our own sets always."""
    spec = sweep('[games.wordle]\nitems = 1\nreprompts = { length = "five letters" }\n')
    sets = game_sets(spec, Path("s.toml"))
    (item,) = items_of(sets)
    own = GAMES["taboo"].instances()[0]
    own_item = EpisodePlan(instance=own, rules="v1.6b", seating=()).item
    find = known_instances(spec, Path("s.toml"))
    assert find(item) == sets["wordle"].instances[0]
    assert find(own_item) == own
    for nothing in (
        known_instances(None, None),
        known_instances(spec, None),
        known_instances(None, Path("s")),
    ):
        assert nothing(own_item) == own
        with pytest.raises(KeyError):
            nothing(item)


def test_paths_start_beside_the_sweep_file() -> None:
    """A relative path starts there, an absolute one stands for itself, ~ is the home folder."""
    source = Path("/sweeps/s.toml")
    assert user_path("w", source, ()) == Path("/sweeps/w")
    assert user_path("/w", source, ()) == Path("/w")
    assert user_path("~/w", source, ()) == Path.home() / "w"


def test_a_run_is_told_where_it_plays() -> None:
    """The store stands beside the sweep file, with the sweep's name; progress is not live by default."""
    spec = sweep("[games.taboo]\n")
    assert default_store_path(Path("/sweeps/other.toml"), spec) == Path("/sweeps/s.duckdb")
    context = RunContext(source=Path("s"), store=Path("d"), environ={}, notify=print)
    assert not context.live
    assert context.emit is None


CHECKOUT = Path(__file__).parents[2] / "data" / "clem_games"
TOY = f'[games."clem:nextnumber"]\ncheckout = "{CHECKOUT}"\n'
TIC = '[games."textarena:TicTacToe-v0"]\n'
PAIRS = '[[pairs]]\nseats = ["m/a", "m/b"]\n[[pairs]]\nseats = ["m/b", "m/a"]\n'


def test_games_of_other_libraries_have_sets() -> None:
    """Their instances, seats and rules are those of the checkout and of the table; no process runs."""
    others = (
        '[games."textarena:Mastermind-v0"]\nitems = 3\n[games."textarena:FrozenLake-v0"]\nturns_max = 5\n'
    )
    sets = game_sets(sweep(TOY + others), Path("s.toml"))
    toy, mastermind = sets["clem:nextnumber"], sets["textarena:Mastermind-v0"]
    assert (toy.seats, len(toy.instances), toy.rules.startswith("clemcore-")) == (2, 3, True)
    assert (mastermind.seats, [one.id for one in mastermind.instances]) == (1, ["0", "1", "2"])
    assert toy.self_play  # its seats work together
    assert (toy.turns_max, mastermind.turns_max) == (1000, 1000)
    lake = sets["textarena:FrozenLake-v0"]
    assert (lake.turns_max, lake.rules) == (5, f"{mastermind.rules}+turns_max=5")


def test_two_seats_against_each_other_are_for_pairs() -> None:
    """Played with itself every method has 50 points on average: an audit needs pairs, and then they alone
    play the game."""
    with pytest.raises(SpecError, match=r"is always 50, .*\[\[pairs\]\]"):
        game_sets(sweep(TIC), Path("s.toml"))
    paired = sweep(TIC, PAIRS)
    chosen = game_sets(paired, Path("s.toml"))["textarena:TicTacToe-v0"]
    assert not chosen.self_play
    played = {name: chosen.players(seating, "x") for name, seating in paired.seatings().items()}
    assert played == {"m/a": (), "m/b": (), "m/a+m/b": ("m/a", "m/b"), "m/b+m/a": ("m/b", "m/a")}
    one_method = parse_sweep(
        f'name = "s"\n{TIC}[models.m.methods.a]\nbots = {{}}\n', source="s.toml", known_games=list(GAMES)
    )
    assert game_sets(one_method, Path("s.toml"))["textarena:TicTacToe-v0"].self_play


@pytest.mark.parametrize(
    ("games", "message"),
    [
        (TOY.replace("nextnumber", "none"), r"games.clem:none: .* has no game 'clem:none'"),
        (TOY.replace("nextnumber", "painting"), r"cannot be played: it shows images"),
        ('[games."textarena:none"]\n', r"games.textarena:none: there is no environment 'none'"),
        (TOY + 'experiments = ["large"]\n', r"no experiment 'large'"),
    ],
)
def test_a_game_of_another_library_that_cannot_be_played_is_refused(games: str, message: str) -> None:
    """Each is one error with its place."""
    with pytest.raises(SpecError, match=message):
        game_sets(sweep(games), Path("s.toml"))


def test_a_store_keeps_the_draw_that_it_was_begun_with() -> None:
    """One that names no draw was begun with the first instances; a game that it does not have is drawn
    evenly."""
    spec = sweep("[games.taboo]\nitems = 4\n")
    for draws, draw in (
        (None, BALANCED),
        ({}, BALANCED),
        ({"wordle": None}, BALANCED),
        ({"taboo": None}, FIRST),
        ({"taboo": FIRST}, FIRST),
    ):
        assert game_sets(spec, Path("s.toml"), draws=draws)["taboo"].draw == draw


def test_games_are_warmed_up() -> None:
    """Each game of the sweep makes a first prompt; one without instances has none to make."""
    sets = game_sets(sweep("[games.taboo]\n[games.wordle]\n"), Path("s.toml"))
    warm_up({**sets, "taboo": replace(sets["taboo"], instances=())})
    with pytest.raises(KeyError):
        warm_up({"no game": sets["wordle"]})
