"""A model audited against itself, where one access method fails in 5 % of its answers: is it ever called
DIFFERENT?

    python -m bench.answers --seeds 100                      all forms in turn, and all mixed
    python -m bench.answers --seeds 20 --only bare-done      one form

One reference and one access method to the same bots; 160 items, 3 repeats. Every reply is spelled as a stream
of OpenAI's dialect, and a share of the second method's answers is replaced by one failing form. The dialect
reads the bytes, a call is tried six times, and the audit of scores gives its verdict. Only the reading of
answers is under test: there are no sockets, no gates and no pauses."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

from backends.bots import bot_reply
from backends.dialects.openai_chat import read_answer
from backends.dialects.responses import Arrivals, HttpResponse
from games import GAMES
from harness.audit.scores.arrays import EpisodeColumns, score_array
from harness.audit.scores.score_audit import audit
from harness.config.episode_plans import choose_instances
from harness.core.errors import CallError, TransientCallError
from harness.core.vocabulary import Instance, Outcome

ITEMS = {"taboo": 80, "referencegame": 80}
REPEATS = 3
SHARE = 0.05
TRIES_MAX = 6
SKILL, FORM_ERRORS = 0.85, 0.03
DRAWS = 499
DONE = b"data: [DONE]\n\n"


def _event(value: object) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(value)


def _delta(text: str | None = None, finish: str | None = None, **choice: object) -> bytes:
    delta = {} if text is None else {"content": text}
    return _event(
        {
            "id": "c",
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **choice}],
        }
    )


def good(text: str) -> bytes:
    """Returns the stream of a complete reply."""
    return _delta(text) + _delta(finish="stop") + DONE


# What stands in place of a complete reply, from public bug reports of vLLM, SGLang, OpenRouter, Cohere and
# others.
FAILING: dict[str, Callable[[str], bytes]] = {
    "bare-done": lambda text: DONE,
    "cut": lambda text: _delta(text[: len(text) // 2]),
    "half-then-done": lambda text: _delta(text[: len(text) // 2]) + DONE,
    "empty-finish-cut": lambda text: _delta(text[: len(text) // 2], finish=""),
    "error-event": lambda text: _delta(text[:3]) + b"event: error\ndata: upstream crashed\n\n" + DONE,
    "error-object": lambda text: (
        _delta(text[:3]) + _event({"object": "error", "message": "engine", "code": 500}) + DONE
    ),
    "error-in-choice": lambda text: _delta("", error={"code": 502, "message": "upstream"}) + DONE,
    "bare-line": lambda text: _delta(text[:3]) + b'{"error": {"code": 503, "message": "overloaded"}}\n',
    "abort": lambda text: _delta(text[:3]) + _delta(finish="abort") + DONE,
    "finish-ERROR": lambda text: _delta("") + _delta(finish="ERROR") + DONE,
    "nothing-generated": lambda text: _delta("") + DONE,
    "filtered": lambda text: _delta(text[:3]) + _delta(finish="content_filter: PROHIBITED_CONTENT") + DONE,
}
# A failure that is taken for a reply, as a control: the audit has to notice it, or the bench shows nothing.
CONTROL: dict[str, Callable[[str], bytes]] = {"control: an empty reply": lambda text: good("")}


@dataclass(slots=True)
class Columns:
    """The episodes of both methods, one list for each column."""

    method: list[str] = field(default_factory=list)
    game: list[str] = field(default_factory=list)
    item: list[str] = field(default_factory=list)
    repeat: list[int] = field(default_factory=list)
    outcome: list[str | None] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--only", choices=[*FAILING, *CONTROL, "mixed", "none"])
    arguments = parser.parse_args()
    forms = [arguments.only] if arguments.only else ["none", *CONTROL, *FAILING, "mixed"]
    print("| failing form (5 %) | audits | DIFFERENT | INCONCLUSIVE | EQUIVALENT | failed episodes | s |")
    print("|---|---|---|---|---|---|---|")
    for form in forms:
        begun_s = time.perf_counter()
        ends = [audited(form, seed) for seed in range(arguments.seeds)]
        verdicts = Counter(verdict for verdict, _ in ends)
        failed = sum(failed for _, failed in ends) / len(ends) / (sum(ITEMS.values()) * REPEATS)
        cells = " | ".join(str(verdicts[name]) for name in ("DIFFERENT", "INCONCLUSIVE", "EQUIVALENT"))
        print(
            f"| {form} | {len(ends)} | {cells} | {100 * failed:.1f} % | {time.perf_counter() - begun_s:.0f} |",
            flush=True,
        )


def audited(form: str, seed: int) -> tuple[str, int]:
    """Plays both methods with this seed; returns the verdict, and how many episodes of the second failed."""
    columns = Columns()
    for method, share in (("m/reference", 0.0), ("m/failing", 0.0 if form == "none" else SHARE)):
        for game, count in ITEMS.items():
            for instance in choose_instances(GAMES[game].instances(), experiments=(), items=count):
                for repeat in range(REPEATS):
                    chance = Random(f"{seed} {method} {instance.content_hash} {repeat}")
                    outcome = play(instance, form, share, chance)
                    columns.method.append(method)
                    columns.game.append(game)
                    columns.item.append(f"{game}:{instance.id}:{instance.content_hash}")
                    columns.repeat.append(repeat)
                    columns.outcome.append(outcome.state if outcome else None)
                    columns.score.append(outcome.score if outcome else None)
    scores = score_array(
        EpisodeColumns(
            method=columns.method, game=columns.game, item=columns.item, repeat=columns.repeat,
            outcome=columns.outcome, score=columns.score,
        )
    )  # fmt: skip
    (comparison,) = audit(scores, "m/reference", seed=seed, draws=DRAWS).comparisons
    return str(comparison.verdict), columns.outcome.count(None)


def play(instance: Instance, form: str, share: float, chance: Random) -> Outcome | None:
    """Plays one episode; None if a call of it failed."""
    game = GAMES[instance.game]
    episode = game.play(instance, game.rule_sets[0])
    ask = next(episode)
    while True:
        reply, _ = bot_reply(
            instance, ask.seat, ask.messages, skill=SKILL, form_errors=FORM_ERRORS, chance=chance
        )
        answer = call(reply, form, share, chance)
        if answer is None:
            return None
        try:
            ask = episode.send(answer.strip())
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def call(reply: str, form: str, share: float, chance: Random) -> str | None:
    """Returns the reply as the dialect reads it, after at most TRIES_MAX tries; None if the call fails."""
    names: Sequence[str] = list(FAILING) if form == "mixed" else [form]
    for _ in range(TRIES_MAX):
        failing = share and chance.random() < share
        body = (FAILING | CONTROL)[chance.choice(names)](reply) if failing else good(reply)
        try:
            return read_answer(HttpResponse(200, {}, body, Arrivals([len(body)], [0.1])), 0.0).text
        except TransientCallError:
            continue
        except CallError:
            return None
    return None


if __name__ == "__main__":
    main()
