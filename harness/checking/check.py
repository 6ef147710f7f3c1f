"""The command `lightbulb check`: what it will cost, the look itself, and the rows it leaves for an audit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.audit.probes import ProbeFinding, expected_cost, judge
from harness.checking.look import Look, Spent
from harness.compose.setting import Setting
from harness.compose.ways import check_sweep
from harness.report.check import cost_words
from harness.spec.sweep import SweepSpec
from harness.store.file import open_to_write
from harness.store.writer import writing
from harness.ways.access import prices

HELLO_TOKENS = (12, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckEnd:
    """What came of a check. findings: empty without probes."""

    looks: tuple[Look, ...]
    findings: tuple[ProbeFinding, ...]
    spent: Spent


def cost_before(spec: SweepSpec, *, probing: bool) -> Iterator[str]:
    """What the check may cost at most, a line for all methods together; said before anything is asked."""
    spents, without = [], []
    for name, (_, part) in spec.methods().items():
        if part.bots is not None:
            without.append(name)
            continue
        calls, heard, spoken = expected_cost() if probing else (0, 0, 0)
        heard, spoken = heard + HELLO_TOKENS[0], spoken + HELLO_TOKENS[1]
        price = prices(part)
        cost = price.cost_usd(prompt_tokens=heard, cached_tokens=None, completion_tokens=spoken) if price is not None else None
        spents.append(Spent(calls=calls + 1, prompt_tokens=heard, completion_tokens=spoken, cost_usd=cost))
    if without:
        yield f"{', '.join(without)}: bots inside this program; there is nothing to reach"
    if spents:
        yield f"{len(spents)} access methods: at most about {cost_words(summed(spents))}"


def summed(spents: Sequence[Spent]) -> Spent:
    """All together; the price is known if it is known of each."""
    costs = [spent.cost_usd for spent in spents]
    return Spent(
        calls=sum(spent.calls for spent in spents),
        prompt_tokens=sum(spent.prompt_tokens for spent in spents),
        completion_tokens=sum(spent.completion_tokens for spent in spents),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
    )


def references(spec: SweepSpec) -> dict[str, str]:
    """Method -> the one it is held against: the audit's reference, or its model's first."""
    chosen: dict[str, str] = {}
    for model, part in spec.models.items():
        names = [f"{model}/{way}" for way in part.methods if part.methods[way].bots is None]
        held = spec.audit.reference if spec.audit.reference in names else names[0] if names else None
        if held is not None:
            chosen.update(dict.fromkeys(names, held))
    return chosen


async def check_and_keep(spec: SweepSpec, setting: Setting, *, probing: bool, keeping: bool) -> CheckEnd:
    """Looks at every method; keeps the probes' rows in the setting's store if asked to.

    raises  SpecError, EngineError, StoreError"""
    looks = await check_sweep(spec, setting, probing=probing)
    rows = [row for look in looks for row in look.probes]
    if keeping and rows:
        with open_to_write(setting.store) as connection:
            async with writing(connection, setting.store) as writer:
                await writer.put(*rows)
    return CheckEnd(looks=looks, findings=judge(rows, references(spec)), spent=summed([look.spent for look in looks]))
