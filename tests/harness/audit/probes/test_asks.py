"""Probes against planted defects: each is found by its own probe, and nothing is found where nothing was
planted."""

from __future__ import annotations

import pytest

from harness.audit.probes.asks import (
    alone_asks,
    crowd_asks,
    effort_asks,
    expected_cost,
    first_asks,
    later_asks,
)
from harness.audit.probes.interpret import ProbeFinding, interpret_probes
from harness.audit.probes.rows import Answer
from harness.core.emulation import Defects, Emulation
from harness.core.vocabulary import Sampling
from tests.harness.audit.probed import probed

HONEST = probed(Emulation(), "m/reference")

# A planted defect, and all subjects that are then not kept; "words" differ with the input or the sampling.
PLANTED: dict[str, tuple[Defects, dict[str, Answer]]] = {
    "temperature ignored": (
        Defects(temperature=1.0),
        {"temperature": "broken", "words": "broken", "stop": "unclear", "load": "unclear"},
    ),
    "always greedy": (Defects(temperature=0.0), {"temperature": "broken", "seed": "unclear"}),
    "seed ignored": (Defects(seed_ignored=True), {"seed": "broken"}),
    "max tokens ignored": (Defects(max_tokens_ignored=True), {"max tokens": "broken"}),
    "capped": (Defects(output_tokens_max=100), {"output cap": "broken"}),
    "stop ignored": (Defects(stop_ignored=True), {"stop": "broken"}),
    "hidden prompt": (
        Defects(system_prompt="You are a pirate."),
        {"prompt": "broken", "words": "broken", "own tokenizer": "broken"},
    ),
    "other template": (
        Defects(template="other"),
        {"template": "broken", "words": "broken", "own tokenizer": "broken"},
    ),
    "context cut": (
        Defects(context_tokens_max=500),
        {"context": "broken", "prompt": "unclear", "template": "unclear", "own tokenizer": "broken"},
    ),
    "small letters": (Defects(lowercase_first=True), {"letters": "broken", "words": "broken"}),
    "routed, admitted": (
        Defects(routed_share=0.3, routed_admitted=True),
        {
            "one server": "broken",
            "one model": "broken",
            "words": "broken",
            "temperature": "unclear",
            "stop": "unclear",
            "seed": "unclear",
            "load": "unclear",
        },
    ),
    "routed": (
        Defects(routed_share=0.2),
        {
            "one model": "broken",
            "words": "unclear",
            "temperature": "unclear",
            "stop": "unclear",
            "seed": "unclear",
            "load": "unclear",
        },
    ),
    "noise in the weights": (Defects(weights_noise=0.3), {"words": "broken"}),
}


def findings(emulation: Emulation, name: str = "m/here") -> dict[str, ProbeFinding]:
    rows = probed(emulation, name)
    return {
        one.subject: one
        for one in interpret_probes([*HONEST, *rows], {name: "m/reference"})
        if one.method == name
    }


def not_kept(found: dict[str, ProbeFinding]) -> dict[str, Answer]:
    """Returns what is not kept; no sweep here sets a reasoning_effort."""
    assert found["effort"].answer == "untested"
    return {
        subject: one.answer for subject, one in found.items() if one.answer != "kept" and subject != "effort"
    }


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_defect_is_found_by_its_probe(planted: str) -> None:
    """Planted alone it breaks its own subject, and no other but those that follow from it."""
    defects, expected = PLANTED[planted]
    found = not_kept(findings(Emulation(defects=defects)))
    assert (
        found.items()
        >= {subject: answer for subject, answer in expected.items() if answer == "broken"}.items()
    )
    assert found.keys() <= expected.keys(), found


def test_nothing_is_found_where_nothing_was_planted() -> None:
    """Eight other providers of the model, half of them with noisy batches, keep all that they are asked."""
    for seed in range(8):
        found = findings(Emulation(seed=seed, noise=0.05 * (seed % 2)))
        broken = {subject: one.sentence for subject, one in found.items() if one.answer == "broken"}
        assert not broken


def test_another_model_keeps_what_it_is_asked_and_says_other_things() -> None:
    """Other weights break no parameter; only their words differ."""
    assert not_kept(findings(Emulation(weights="another"))) == {"words": "broken"}


def test_a_method_without_a_reference_is_judged_alone() -> None:
    """Findings that need a comparison are untested, the others are not."""
    found = {one.subject: one.answer for one in interpret_probes(HONEST, {"m/reference": "m/reference"})}
    assert {subject for subject, answer in found.items() if answer == "untested"} == {
        "prompt",
        "template",
        "words",
        "effort",
    }


def test_what_was_not_answered_is_untested_and_says_why() -> None:
    """A provider that takes no seed is not blamed for it."""
    refused = [
        row._replace(reply=None, error_class="Rejected", error_text="seed is no parameter here")
        if row.kind == "seed"
        else row
        for row in HONEST
    ]
    (seed,) = (one for one in interpret_probes(refused, {}) if one.subject == "seed")
    assert seed.answer == "untested"
    assert "seed is no parameter here" in seed.sentence


def test_each_topic_is_asked_once_more_with_a_stop() -> None:
    """The stop is a word of the topic's greedy reply; these are the first and only repeats."""
    stops = later_asks(HONEST)
    assert [ask.place for ask in stops] == ["stop 0 0", "stop 1 0"]
    for ask in stops:
        (greedy, *_) = (row.reply for row in HONEST if row.kind == "greedy" and row.name == ask.name)
        (stop,) = ask.sampling.stop
        assert stop in (greedy or "")
        assert ask.sampling.temperature == 0.0


def test_uncounted_answers_are_named() -> None:
    """A provider that does not say what a reply cost is told so, before money rests on it."""
    silent = [row._replace(prompt_tokens=None, completion_tokens=None) for row in HONEST]
    usage = next(one for one in interpret_probes(silent, {}) if one.subject == "usage")
    assert usage.answer == "broken"


def test_the_cost_said_before_is_no_less_than_the_cost_after() -> None:
    """The announced cost covers that of an obedient provider."""
    calls, prompt, completion = expected_cost(Sampling())
    first = (*first_asks(), *alone_asks(), *crowd_asks())
    assert calls >= len(first) + len(later_asks(HONEST)) == len(HONEST)
    with_effort, _, _ = expected_cost(Sampling(reasoning_effort="high"))
    assert with_effort == calls + len(effort_asks(Sampling(reasoning_effort="high")))
    assert completion >= sum(row.completion_tokens or 0 for row in HONEST)
    assert prompt >= 0.8 * sum(
        row.prompt_tokens or 0 for row in HONEST
    )  # templates differ; the text itself is counted


def test_each_first_question_has_a_place_of_its_own() -> None:
    """Repeats are numbered from 0. All questions about seeds have one prompt, which is also asked without a
    seed: the replies can then be compared."""
    asks = first_asks()
    assert len({ask.place for ask in asks}) == len(asks)
    assert {ask.number for ask in asks if ask.kind not in ("greedy", "warm", "seed")} == {0}
    of_seeds = {ask.messages for ask in asks if ask.kind == "seed"}
    assert of_seeds == {ask.messages for ask in asks if (ask.kind, ask.name) == ("warm", "0")}
    repeated = [ask for ask in asks if ask.kind == "seed" and ask.number > 0]
    assert len({ask.sampling.seed for ask in repeated}) == 1
    single = {ask.sampling.seed: ask.number for ask in asks if ask.kind == "seed" and ask not in repeated}
    assert len(single) > 2
    assert set(single.values()) == {0}
