"""A toy game for tests: a die is thrown from Python's global random generator, a programmatic player guesses first, and
then the model does."""

import random
import time

from clemcore.backends import CustomResponseModel
from clemcore.clemgame import GameBenchmark, Player
from clemcore.clemgame.master import DialogueGameMaster
from clemcore.clemgame.metrics import BENCH_SCORE, METRIC_ABORTED, METRIC_LOSE, METRIC_SUCCESS, GameScorer

from constants import SIDES


class Guesser(Player):
    def _custom_response(self, context):
        return str(random.randint(1, SIDES))


class Dice(DialogueGameMaster):
    def _on_setup(self, **instance):
        self.left = instance["throws"]
        self.throw = random.randint(1, SIDES)
        self.right = 0
        self.rival = Guesser(CustomResponseModel())
        self.guesser = Guesser(self.player_models[0])
        self.add_player(self.rival, initial_context="Guess.")
        self.add_player(self.guesser)

    def _parse_response(self, player, response):
        if self.game_spec.game_name == "slow" and player is self.guesser:
            time.sleep(float(response))
        return response

    def _advance_game(self, player, parsed_response):
        if player is self.rival:
            self.set_context_for(self.guesser, f"Your rival says {parsed_response}. Guess.")
            return
        self.right += parsed_response == str(self.throw)
        self.left -= 1
        self.set_context_for(self.rival, f"The die showed {self.throw}. Guess again.")
        self.throw = random.randint(1, SIDES)
        if not self.left:
            self.log_key("right", self.right)
            for metric, value in ((METRIC_ABORTED, 0), (METRIC_LOSE, 0), (METRIC_SUCCESS, 1)):
                self.log_key(metric, value)
            self.state.succeed()


class DiceScorer(GameScorer):
    def compute_episode_scores(self, interactions):
        self.log_episode_score(BENCH_SCORE, 100 * interactions["right"] / self.game_instance["throws"])

    def compute_round_score(self, round_idx, round_events):
        pass


class DiceBenchmark(GameBenchmark):
    def create_game_master(self, experiment, player_models):
        return Dice(self.game_spec, experiment, player_models)

    def create_game_scorer(self, experiment, game_instance):
        return DiceScorer(self.game_name, experiment, game_instance)
