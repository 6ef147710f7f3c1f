"""Causes: each planted alone is named, no other is; a cause that others imitate is believed only once they
are refuted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.audit.probes.causes import Symptoms, attribute
from harness.audit.probes.interpret import interpret_probes
from harness.core.emulation import Defects, Emulation
from tests.harness.audit.probed import probed
from tests.harness.audit.probes.verifiers import CAUSES, FAULTS, attributed

HONEST = probed(Emulation(), "m/reference")
WEIGHTS = "another model, weights, quantisation or numerics"

NAMED: dict[str, Defects] = {
    "max tokens ignored": Defects(max_tokens_ignored=True),
    "a cap on output": Defects(output_tokens_max=100),
    "stop ignored": Defects(stop_ignored=True),
    "context cut": Defects(context_tokens_max=500),
    "a prompt of its own": Defects(system_prompt="You are a pirate."),
    "another chat template": Defects(template="other"),
    "temperature not served": Defects(temperature=1.0),
    "seed ignored": Defects(seed_ignored=True),
    "letters changed": Defects(lowercase_first=True),
    "several models behind one name": Defects(routed_share=0.2),
    WEIGHTS: Defects(weights_noise=0.3),
}


@pytest.mark.parametrize("cause", NAMED)
def test_a_planted_cause_is_named_and_no_other(cause: str) -> None:
    """Under two seeds each planted cause alone is supported, and every other is not."""
    for seed in range(2):
        found = attributed(Emulation(seed=seed, defects=NAMED[cause]))
        assert found.named == (cause,), found.sentence


@pytest.mark.parametrize("fault", FAULTS)
def test_what_verifiers_ask_is_a_cause_too(fault: str) -> None:
    """Each of their faults planted alone is the cause that is named, under four seeds; no other is."""
    _, emulation, effort = FAULTS[fault]
    for seed in (0, 1, 2, 1002):  # with the last, a reply with thoughts is too long for its maximum
        found = attributed(replace(emulation, seed=seed), effort=effort)
        assert found.named == (CAUSES[fault],), found.sentence


def test_a_hidden_prompt_explains_the_count_of_our_own_tokenizer() -> None:
    """Both counts show it; the prompt alone is named."""
    found = attributed(Emulation(defects=Defects(system_prompt="You are a pirate.")))
    states = {one.cause: one.state for one in found.causes}
    assert states["prompt tokens counted differently"] == "consistent"


def test_replies_that_depend_on_the_load_excuse_no_routing_and_no_weights() -> None:
    """Several models and other weights cannot be told from them."""
    _, emulation, _ = FAULTS["under load every second reply drawn again"]
    found = attributed(emulation, Symptoms(replies_differ=True, failed_apart=False))
    states = {one.cause: one.state for one in found.causes}
    assert states["several models behind one name"] == "untested"
    assert states[WEIGHTS] in ("refuted", "consistent")


def test_nothing_planted_nothing_named() -> None:
    """Eight honest providers, half of them with noisy batches: no cause is supported, and none if they
    think."""
    for seed in range(8):
        noise = 0.05 * (seed % 2)
        assert attributed(Emulation(seed=seed, noise=noise)).named == ()
        for thoughts in (10, 100):  # 10 leave most of a probe's maximum, and another share to each reply
            emulation = Emulation(seed=seed, noise=noise, thoughts=thoughts)
            assert attributed(emulation, effort="medium").named == ()


def test_other_weights_are_not_blamed_for_a_hidden_prompt() -> None:
    """Words differ by both; while the prompt stands the weights are only consistent, and the sentence names
    the prompt."""
    found = attributed(Emulation(weights="another", defects=Defects(system_prompt="You are a pirate.")))
    states = {one.cause: one.state for one in found.causes}
    assert states["a prompt of its own"] == "supported"
    assert states[WEIGHTS] == "consistent"
    assert found.sentence.startswith("Cause at m/here: a prompt of its own (")


def test_without_probes_nothing_is_named() -> None:
    """Symptoms alone name no cause: all that could be is said to be untested or open."""
    found = attribute(
        "m/here", (), (), Symptoms(replies_differ=True, form=-20.0, play=0.0, failed_apart=False)
    )
    assert found.named == ()
    assert "Causes that were not tested: " in found.sentence


def test_one_sign_of_a_template_is_not_enough() -> None:
    """Other counts alone have other explanations; with words that differ they are believed."""
    rows = probed(Emulation(), "m/here")
    counted = [row._replace(prompt_tokens=(row.prompt_tokens or 0) + 3 * _messages(row.name)) for row in rows]
    both = [*HONEST, *counted]
    found = attribute(
        "m/here", interpret_probes(both, {"m/here": "m/reference"}), both, Symptoms(failed_apart=False)
    )
    assert {one.cause: one.state for one in found.causes}["another chat template"] == "consistent"


def _messages(name: str) -> int:
    return 3 if name == "three messages" else 1


def test_routing_that_answers_admit_is_named_too() -> None:
    """Answers that name two configurations are enough, however few replies there are."""
    found = attributed(Emulation(defects=Defects(routed_share=0.3, routed_admitted=True)))
    assert found.named == ("several models behind one name",), found.sentence


def test_broken_forms_are_named_when_all_else_is_as_asked() -> None:
    """Forms that break while play is steady, and nothing that a probe could find: under noise too."""
    for seed in range(4):
        found = attributed(
            Emulation(seed=seed, noise=0.02),
            Symptoms(form=-8.0, play=-1.0, replies_differ=True, failed_apart=False),
        )
        assert found.named == ("replies broken in form",), found.sentence


def test_broken_forms_are_not_a_cause_beside_another() -> None:
    """Forms that break by a hidden prompt are that prompt's doing; and where play suffers as much, forms are
    not all."""
    prompted = Emulation(defects=Defects(system_prompt="You are a pirate."))
    assert attributed(prompted, Symptoms(form=-8.0, play=0.0, failed_apart=False)).named == (
        "a prompt of its own",
    )
    assert attributed(Emulation(), Symptoms(form=-8.0, play=-8.0, failed_apart=False)).named == ()


def test_missing_episodes_are_read_first() -> None:
    """Uneven failures put provider trouble before all other causes."""
    found = attributed(Emulation(), Symptoms(failed_apart=True))
    assert found.causes[0].cause == "provider trouble"
    assert found.causes[0].state == "consistent"
