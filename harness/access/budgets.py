"""The sweep's budgets as the engine counts them: whose calls are paid from each, and who stops with whom.

What a method may spend alone stops every method of its model: an audit compares what all of them played. It stops the pairs in which it
sits, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.config.load import method_place, spec_error
from harness.config.sweep import BudgetPart, MethodPart, Seating, SweepSpec
from harness.scheduler.spending import Allowance, Scope


def find_scopes(spec: SweepSpec, seatings: Mapping[str, Seating], *, source: Path) -> list[Scope]:
    """The allowances of those who play.

    raises   SpecError if dollars are to be counted where no price is known"""
    parts, playing = (
        spec.methods(),
        frozenset(name for seating in seatings.values() for name in seating.methods),
    )
    scopes, unpriced = [], set()
    if spec.budget != BudgetPart():
        scopes.append(
            Scope(
                name="the sweep", allowance=_allowance(spec.budget), payers=playing, lanes=frozenset(seatings)
            )
        )
        if spec.budget.cost_usd is not None:
            unpriced |= {name for name in playing if not _priced(parts[name][1])}
    for name, (model, part) in parts.items():
        if name in playing and part.budget is not None:
            compared = {one for one in playing if parts[one][0] == model}
            lanes = frozenset(
                one
                for one, who in seatings.items()
                if name in who.methods or compared.issuperset(who.methods)
            )
            scopes.append(
                Scope(name=name, allowance=_allowance(part.budget), payers=frozenset({name}), lanes=lanes)
            )
            if part.budget.cost_usd is not None and not _priced(part):
                unpriced.add(name)
    if unpriced:
        why = "has a budget in dollars and no price; give price_input_usd_per_mtok and price_output_usd_per_mtok"
        raise spec_error(source, [(method_place(name), why) for name in sorted(unpriced)])
    return scopes


def _priced(part: MethodPart) -> bool:
    """Whether it is known what its calls cost; what runs on this machine costs nothing."""
    return (
        part.price_input_usd_per_mtok is not None
        or part.bots is not None
        or part.engine is not None
        or part.emulator is not None
    )


def _allowance(part: BudgetPart) -> Allowance:
    return Allowance(calls=part.calls, tokens=part.tokens, cost_usd=part.cost_usd, wall_s=part.wall_s)
