"""A toy game for tests: two players count on from a number in turn. A reply without its tag aborts the game."""

import os

from clemcore.clemgame import GameBenchmark, Player
from clemcore.clemgame.legacy.master import DialogueGameMaster
from clemcore.clemgame.legacy.scorer import GameScorer
from clemcore.clemgame.metrics import BENCH_SCORE, METRIC_ABORTED, METRIC_LOSE, METRIC_SUCCESS

from constants import TAG


class Counter(Player):
    def _custom_response(self, context):
        return f"{TAG} 0"


class NextNumber(DialogueGameMaster):
    def _on_setup(self, **instance):
        self.number = instance["start"]
        self.left = 2 * instance["rounds"]
        self.right = 0
        self.aborted = False
        for model in self.player_models:
            player = Counter(model)
            self.add_player(player, initial_prompt=f"Count on. Answer with '{TAG} NUMBER'.")

    def _on_before_game(self):
        self.set_context_for(self.get_players()[0], f"The number is {self.number}.")

    def _validate_player_response(self, player, response):
        if "die" in response:  # a game that takes its process with it
            os.abort()
        if "raise" in response:
            raise KeyError("a game with a fault")
        self.aborted = not response.startswith(TAG)
        return not self.aborted

    def _parse_response(self, player, response):
        return response.removeprefix(TAG).strip()

    def _on_valid_player_response(self, player, parsed_response):
        self.right += parsed_response == str(self.number + 1)
        self.number += 1
        self.left -= 1
        other = next(one for one in self.get_players() if one is not player)
        self.set_context_for(other, f"The number is {self.number}.")

    def _does_game_proceed(self):
        return self.left > 0 and not self.aborted

    def _on_after_game(self):
        self.log_key("right", self.right)
        self.log_key("aborted", self.aborted)


class NextNumberScorer(GameScorer):
    def compute_scores(self, interactions):
        aborted = interactions["aborted"]
        total = 2 * self.game_instance["rounds"]
        score = 100 * interactions["right"] / total
        self.log_episode_score(METRIC_ABORTED, int(aborted))
        self.log_episode_score(METRIC_SUCCESS, int(not aborted and score == 100))
        self.log_episode_score(METRIC_LOSE, int(not aborted and score < 100))
        self.log_episode_score(BENCH_SCORE, float("nan") if aborted else score)
        self.log_episode_score("Right", interactions["right"])


class NextNumberBenchmark(GameBenchmark):
    def create_game_master(self, experiment, player_models):
        return NextNumber(self.game_spec, experiment, player_models)

    def create_game_scorer(self, experiment, game_instance):
        return NextNumberScorer(self.game_name, experiment, game_instance)
