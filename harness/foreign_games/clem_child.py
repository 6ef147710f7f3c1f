"""Plays clembench's games through clemcore, one step for each reply. Imported by child.py in clem's own
environment.

Knows clemcore's game masters, players, recorders and scorers; calls no model of clemcore. Keeps: a game is
loaded once and closed at once, so that its modules leave sys.modules; nothing is downloaded."""

from __future__ import annotations

import json
import math
import sys
from importlib.metadata import version
from typing import Any

import clemcore.clemgame.master as masters
import nltk
import numpy
from clemcore.backends import CustomResponseModel, Model, ModelSpec
from clemcore.clemgame import GameBenchmark, GameInstances, GameInteractionsRecorder, GameSpec

TOKENS_MAX = 300  # clemcore's own default, which some games read from the model

REQUESTS = ("Request Count", "Parsed Request Count", "Violated Request Count")
NO_METRIC = {"Aborted", "Success", "Lose", "Main Score", *REQUESTS}  # the outcome has them


class SeatModel(Model):  # type: ignore[misc]
    """Stands for the player of one seat; the reply comes from the parent process."""

    def __init__(self, seat: str) -> None:
        super().__init__(ModelSpec(model_name=f"lightbulb {seat}", backend="lightbulb"))
        self.seat = seat
        self.set_gen_args(max_tokens=TOKENS_MAX, temperature=0.0)

    def generate_response(self, messages: list[dict[str, Any]]) -> Any:
        raise RuntimeError("the game calls its players by itself, outside of its turns")


def _tolerate_any_state() -> None:
    """Lets games set a state that lacks fields of clemcore's own, as wordle does."""

    def set_state(master: Any, state: Any) -> None:
        for field in master._GAME_STATE_FIELDS:
            if getattr(state, field, None) is None:
                try:
                    setattr(state, field, getattr(master._state, field, None))
                except AttributeError:  # a state with fixed fields
                    continue
        master._state = state

    masters.GameMaster.state = masters.GameMaster.state.setter(set_state)


def _use_our_stop_words(words: list[str]) -> None:
    """Gives nltk the stop words of English where its own data is missing: taboo reads them at its import."""
    from nltk.corpus import stopwords

    try:
        stopwords.words("english")
    except LookupError:

        class Words:
            def words(self, language: str) -> list[str]:
                if language != "english":
                    raise LookupError(f"no stop words of {language}")
                return list(words)

        nltk.corpus.stopwords = Words()


class ClemEpisode:
    """One episode of a game of clembench."""

    def __init__(self, benchmark: Any, spec: Any, row: dict[str, Any]) -> None:
        self._benchmark = benchmark
        self._experiment, self._instance = row["experiment"], row["game_instance"]
        models = [SeatModel(f"player {number + 1}") for number in range(spec.players)]
        self._seats = {id(model): model.seat for model in models}
        self._master = benchmark.create_game_master(self._experiment, models)
        names = {number: {"model_name": model.name} for number, model in enumerate(models)}
        self._recorder = GameInteractionsRecorder(
            spec.game_name, self._experiment["name"], self._instance["game_id"], "", names
        )
        self._asked = self._violated = 0
        self._player: Any = None

    def begin(self) -> dict[str, Any]:
        master = self._master
        master.register(self._recorder)  # before setup: scorers of some games need what setup logs
        master.setup(**self._instance)
        for player in master.get_players():
            self._recorder.log_player(player.name, player.game_role, player.model.name)
        master.before_game()
        return self._next_ask()

    def step(self, reply: str) -> dict[str, Any]:
        return self._end() if self._take(reply) else self._next_ask()

    def _next_ask(self) -> dict[str, Any]:
        """Plays programmatic seats, up to the next ask of a model's seat or the end."""
        while True:
            self._player = self._master.current_player
            context = self._master.get_context_for(self._player)
            if context is None:
                raise RuntimeError("the game has no message for the player whose turn it is")
            if "image" in context:
                raise RuntimeError("the game shows an image, but lightbulb sends text only")
            messages = self._player.perceive_context(context, log_event=False)
            seat = self._seats.get(id(self._player.model))
            if seat is not None:
                self._asked += 1
                texts = [[message["role"], message["content"]] for message in messages]
                return {"seat": seat, "messages": texts, "violation": self._violation()}
            if not isinstance(self._player.model, CustomResponseModel):
                raise RuntimeError(f"the game gives {self._player.name} a model of its own")
            if self._take(self._player._custom_response(context)):
                return self._end()

    def _take(self, reply: str) -> bool:
        self._player.perceive_response(reply, log_event=False)
        done, _ = self._master.step(reply)
        return bool(done)

    def _violation(self) -> str | None:
        """Returns why the last reply broke the rules of replies; None if the game counted none."""
        counted = sum(self._recorder.violated_requests_counts)
        before, self._violated = self._violated, counted
        return "the game counts the reply as violated" if counted > before else None

    def _end(self) -> dict[str, Any]:
        unscored: dict[str, Any] = {
            "state": "unscored",
            "score": None,
            "requests": [self._asked, 0, 0],
            "metrics": {},
        }
        return {"end": {**unscored, "violation": self._violation(), **self._score()}}

    def _score(self) -> dict[str, Any]:
        try:
            scorer = self._benchmark.create_game_scorer(self._experiment, self._instance)
            scorer.compute_scores(json.loads(json.dumps(self._recorder.interactions)))
            scores = scorer.scores["episode scores"]
        except Exception as error:
            return {"reason": f"the scorer raised {type(error).__name__}"}
        numbers = {name: float(value) for name, value in scores.items() if isinstance(value, int | float)}
        main = numbers.get("Main Score", math.nan)
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        facts: dict[str, Any] = {
            "metrics": {name: value for name, value in finite.items() if name not in NO_METRIC}
        }
        if finite.keys() >= set(REQUESTS):
            facts["requests"] = [int(finite[name]) for name in REQUESTS]
        if numbers.get("Aborted"):
            return {**facts, "state": "aborted", "reason": "aborted by the game"}
        if not math.isfinite(main):
            return {**facts, "reason": "the scorer gave no main score"}
        state = "success" if numbers.get("Success") else "lost"
        return {**facts, "state": state, "score": min(100.0, max(0.0, main)), "reason": state}


class ClemLibrary:
    """The games of clembench checkouts."""

    version = version("clemcore")

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], tuple[Any, Any, dict[tuple[str, str], dict[str, Any]]]] = {}
        sys.dont_write_bytecode = True  # a user's checkout stays as it is
        nltk.download = lambda *arguments, **named: True
        setattr(numpy, "NaN", numpy.nan)  # noqa: B010 - games were written for numpy 1
        _tolerate_any_state()

    def open(self, game: dict[str, Any], seed: int) -> ClemEpisode:
        place = (game["folder"], game["name"])
        if place not in self._loaded:
            _use_our_stop_words(game["stop_words"])
            self._loaded[place] = self._load(*place)
        benchmark, spec, rows = self._loaded[place]
        return ClemEpisode(benchmark, spec, rows[game["experiment"], game["id"]])

    def _load(self, folder: str, name: str) -> tuple[Any, Any, dict[tuple[str, str], dict[str, Any]]]:
        (spec,) = (one for one in GameSpec.from_directory(folder) if one.game_name == name)
        kept = set(sys.path)
        benchmark = GameBenchmark.load_from_spec(spec)
        benchmark.close()
        sys.path[:] = [place for place in sys.path if place in kept]
        rows = {
            (row["experiment"]["name"], str(row["game_instance"]["game_id"])): row
            for row in GameInstances.from_game_spec(spec)
        }
        return benchmark, spec, rows


LIBRARY = ClemLibrary()
