"""Plans: what a sweep takes, what sets its pace, and where that is known from."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands.arguments import load
from harness.planning.plan_sweep import plan_sweep, span
from harness.planning.results import MethodPlan, SweepPlan, duration_text, pace_text

TWO = """
name = "two"
repeats = {repeats}
[games.taboo]
items = 30
[models.m.methods.quick]
base_url = "https://quick.example/v1"
requests_per_minute = {requests}
concurrency = 24
price_input_usd_per_mtok = 1.0
price_output_usd_per_mtok = 4.0
expect = {{ first_s = 0.3, tokens_per_s = 100.0 }}
[models.m.methods.slow]
base_url = "https://slow.example/v1"
concurrency = 4
expect = {{ first_s = 0.4, tokens_per_s = 40.0 }}
[audit]
again = false
"""


def planned(
    folder: Path, *, repeats: int, requests: int = 300, full: bool = False, seeds: int = 1
) -> SweepPlan:
    sweep = folder / "two.toml"
    sweep.write_text(TWO.format(repeats=repeats, requests=requests))
    return plan_sweep(load(sweep), source=sweep, full=full, seeds=seeds, calls_max=1_500)


def by_name(plan: SweepPlan) -> dict[str, MethodPlan]:
    return {method.method.split("/")[1]: method for method in plan.methods}


def test_a_quota_that_binds_is_named(tmp_path: Path) -> None:
    """300 requests a minute set the pace of what would be ten times quicker: the time is calls over quota,
    and the words say it."""
    plan = planned(tmp_path, repeats=20)
    quick = by_name(plan)["quick"]
    assert quick.binding is not None
    assert quick.binding.limit == "requests"
    assert quick.wall.value == pytest.approx(60 * quick.calls / 300, rel=0.05)
    assert "300 requests a minute" in pace_text(quick)
    slow = by_name(plan)["slow"]
    assert slow.binding is not None
    assert slow.binding.limit == "calls in flight"


def test_a_limit_of_turns_bounds_a_plan(tmp_path: Path) -> None:
    """The length of an episode of another library is a guess, cut at the limit of turns, and the plan names
    the limit."""
    game = '[games."textarena:GuessTheNumber-v0"]\nitems = 5\nturns_max = 3\n'
    sweep = tmp_path / "one.toml"
    sweep.write_text(TWO.format(repeats=2, requests=300).replace("[games.taboo]\nitems = 30\n", game))
    plan = plan_sweep(load(sweep), source=sweep, seeds=1, calls_max=1_500)
    assert (plan.episodes, plan.turns) == (20, 60)
    assert any("an episode has at most 3 turns" in warning for warning in plan.warnings)


def test_what_a_method_costs_and_saves(tmp_path: Path) -> None:
    """Its price times its tokens; the sweep without its longest method takes as long as the other."""
    plan = planned(tmp_path, repeats=20)
    methods = by_name(plan)
    quick = methods["quick"]
    assert quick.cost_usd == pytest.approx((quick.prompt_tokens + 4 * quick.reply_tokens) / 1e6)
    assert plan.unpriced == ("m/slow",)
    longest, other = sorted(methods.values(), key=lambda method: -method.wall.value)
    assert plan.bottleneck == longest.method
    assert longest.saved_s == pytest.approx(plan.wall.value - other.wall.value, rel=0.1)
    assert other.saved_s < 0.05 * plan.wall.value


def test_the_short_answer_is_near_the_full_one(tmp_path: Path) -> None:
    """A third of the calls: within 5 % of the wall time of all of them, calls and tokens within 2 %."""
    short, whole = planned(tmp_path, repeats=25), planned(tmp_path, repeats=25, full=True)
    assert short.wall.value == pytest.approx(whole.wall.value, rel=0.05)
    assert short.calls == pytest.approx(whole.calls, rel=0.02)
    assert short.reply_tokens == pytest.approx(whole.reply_tokens, rel=0.02)
    assert short.simulated < whole.simulated / 2
    assert whole.scale == 1.0
    assert short.scale > 1.0


def test_the_same_plan_twice(tmp_path: Path) -> None:
    """Same file, same answer."""
    assert planned(tmp_path, repeats=1, seeds=2) == planned(tmp_path, repeats=1, seeds=2)


def warnings(folder: Path, *, repeats: int, temperatures: tuple[float, float]) -> str:
    """Returns the warnings of a plan whose methods ask for these temperatures."""
    sweep = folder / "two.toml"
    text = TWO.format(repeats=repeats, requests=300)
    for method, temperature in zip(("quick", "slow"), temperatures, strict=True):
        text = text.replace(f"methods.{method}]", f"methods.{method}]\ntemperature = {temperature}")
    sweep.write_text(text)
    return "\n".join(plan_sweep(load(sweep), source=sweep, seeds=1, calls_max=1_500).warnings)


def test_a_sweep_too_small_for_its_margin_is_warned_of(tmp_path: Path) -> None:
    """30 items once cannot settle 3 points; a hundred times they can, where repeats differ."""
    assert "margins of 3 points" in warnings(tmp_path, repeats=1, temperatures=(0.7, 0.7))
    assert warnings(tmp_path, repeats=100, temperatures=(0.7, 0.7)) == ""


def test_at_temperature_0_a_plan_asks_for_items(tmp_path: Path) -> None:
    """The warning names items, and that repeats are assumed to be equal; also where only one method is at
    temperature 0. At other temperatures it names repeats."""
    for temperatures in ((0.0, 0.0), (0.0, 0.7)):
        warned = warnings(tmp_path, repeats=100, temperatures=temperatures)
        assert "no number of repeats is enough" in warned
        assert warned.count("repeats at temperature 0 are equal") == 1
    assert "repeats instead of 1 it would be large enough, if scores vary as guessed." in warnings(
        tmp_path, repeats=1, temperatures=(0.7, 0.7)
    )


def test_a_budget_that_ends_the_sweep_early_is_warned_of(tmp_path: Path) -> None:
    """A hundred calls for some hundred and fifty: what is needed and how far it goes. A budget that suffices
    is silent."""
    sweep = tmp_path / "two.toml"
    for calls, warned in ((100, True), (100_000, False)):
        sweep.write_text(TWO.format(repeats=1, requests=300) + f"[budget]\ncalls = {calls}\n")
        plan = plan_sweep(load(sweep), source=sweep, seeds=1, calls_max=1_500)
        assert (
            any("the budget of 100 calls stops the sweep" in warning for warning in plan.warnings) == warned
        )


def test_a_forecast_beyond_one_core_is_warned_of(tmp_path: Path) -> None:
    """Some 40,000 calls with 18,000 in flight would take fewer seconds than one process needs. Where replies
    are slow, the plan is silent."""
    sweep = tmp_path / "two.toml"
    text = TWO.format(repeats=300, requests=1_000_000)
    text = text.replace("concurrency = 24", "concurrency = 9000").replace(
        "concurrency = 4", "concurrency = 9000"
    )
    for tokens_per_s, warned in ((10_000, True), (0.01, False)):
        sweep.write_text(text.replace("tokens_per_s = 100.0", f"tokens_per_s = {tokens_per_s}"))
        plan = plan_sweep(load(sweep), source=sweep, seeds=1, calls_max=1_500)
        assert any("5,000 calls a second on one core" in one for one in plan.warnings) == warned


def test_times_as_a_person_says_them() -> None:
    """From seconds to days."""
    assert [duration_text(seconds) for seconds in (4, 42, 2460, 36_000, 400_000)] == [
        "4.0 seconds",
        "42 seconds",
        "41 minutes",
        "10.0 hours",
        "4.6 days",
    ]


def test_the_interval_is_students() -> None:
    """The interval is wide for two different values and empty for equal ones."""
    assert span([10.0, 10.0]).low == 10.0
    assert span([9.0, 11.0]).high > 13.0
