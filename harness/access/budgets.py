"""Turns the sweep's budgets into scopes: whose calls each budget pays, and which lanes stop together.

A method's own budget stops every method of its model, because an audit compares what all of them played. It
also stops the pairs in which the method sits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.config.problems import method_place, spec_error
from harness.config.sweep import BudgetPart, MethodPart, Seating, SweepSpec
from harness.scheduler.spending import Allowance, Scope


def find_scopes(spec: SweepSpec, seatings: Mapping[str, Seating], *, source: Path) -> list[Scope]:
    """Returns the budgets that concern these seatings.

    raises  SpecError if a budget is in US dollars and a method that it pays has no price"""
    parts = spec.methods()
    playing = frozenset(name for seating in seatings.values() for name in seating.methods)
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
            compared = {other for other in playing if parts[other][0] == model}
            lanes = frozenset(
                lane
                for lane, seating in seatings.items()
                if name in seating.methods or compared.issuperset(seating.methods)
            )
            scopes.append(
                Scope(name=name, allowance=_allowance(part.budget), payers=frozenset({name}), lanes=lanes)
            )
            if part.budget.cost_usd is not None and not _priced(part):
                unpriced.add(name)
    if unpriced:
        prices = "price_input_usd_per_mtok and price_output_usd_per_mtok"
        why = f"has a budget in US dollars but no price; give {prices}"
        raise spec_error(source, [(method_place(name), why) for name in sorted(unpriced)])
    return scopes


def _priced(part: MethodPart) -> bool:
    """Tells whether the cost of its calls is known; what runs on this machine costs nothing."""
    return (
        part.price_input_usd_per_mtok is not None
        or part.bots is not None
        or part.engine is not None
        or part.emulator is not None
    )


def _allowance(part: BudgetPart) -> Allowance:
    return Allowance(calls=part.calls, tokens=part.tokens, cost_usd=part.cost_usd, wall_s=part.wall_s)
