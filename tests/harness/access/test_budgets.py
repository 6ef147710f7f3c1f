"""Whose calls a budget counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.access.budgets import find_scopes
from harness.config.load import parse_sweep
from harness.core.errors import SpecError
from harness.scheduler.spending import Allowance, Scope

REMOTE = 'base_url = "https://api.example.com/v1"\n'


def scopes(tmp_path: Path, text: str) -> list[Scope]:
    file = tmp_path / "s.toml"
    file.write_text(text)
    spec = parse_sweep(text, source=str(file), known_games=["taboo"])
    return find_scopes(spec, spec.seatings(), source=file)


def test_a_method_s_budget_governs_its_model_and_the_sweep_s_all(tmp_path: Path) -> None:
    """A method pays from its budget alone, and the methods of its model stop with it."""
    found = scopes(
        tmp_path,
        f"""
name = "s"
[games.taboo]
[budget]
calls = 1000
wall_s = 60
[models.m.methods.a]
{REMOTE}budget = {{ tokens = 500 }}
[models.m.methods.b]
bots = {{}}
[models.n.methods.a]
bots = {{}}
""",
    )
    everyone = frozenset({"m/a", "m/b", "n/a"})
    assert found == [
        Scope(name="the sweep", allowance=Allowance(calls=1000, wall_s=60), payers=everyone, lanes=everyone),
        Scope(
            name="m/a",
            allowance=Allowance(tokens=500),
            payers=frozenset({"m/a"}),
            lanes=frozenset({"m/a", "m/b"}),
        ),
    ]


def test_a_pair_stops_with_each_of_its_players(tmp_path: Path) -> None:
    """A method whose own budget is spent plays nowhere any more; a pair of others goes on."""
    found = scopes(
        tmp_path,
        f"""
name = "s"
[games.taboo]
[models.m.methods.a]
{REMOTE}budget = {{ tokens = 500 }}
[models.n.methods.a]
bots = {{}}
[models.o.methods.a]
bots = {{}}
[[pairs]]
seats = ["n/a", "m/a"]
[[pairs]]
seats = ["n/a", "o/a"]
""",
    )
    assert [scope.lanes for scope in found] == [frozenset({"m/a", "n/a+m/a"})]


def test_dollars_need_prices(tmp_path: Path) -> None:
    """A budget that could not count is refused, not ignored; what runs here costs nothing."""
    text = f"""name = "s"
[games.taboo]
[budget]
cost_usd = 5
[models.m.methods.a]
{REMOTE}[models.m.methods.b]
bots = {{}}
"""
    with pytest.raises(
        SpecError, match=r"s\.toml:5: models\.m\.methods\.a: has a budget in US dollars but no price"
    ):
        scopes(tmp_path, text)


@pytest.mark.parametrize(
    "method",
    [
        "bots = {}\n",
        "emulator = {}\n",
        'engine = { kind = "vllm", weights = "w" }\n',
        f"{REMOTE}price_input_usd_per_mtok = 1\nprice_output_usd_per_mtok = 2\n",
    ],
)
def test_what_has_a_price_or_runs_here_may_have_a_budget_in_dollars(tmp_path: Path, method: str) -> None:
    """Both its own and that of the sweep."""
    text = f"""name = "s"
[games.taboo]
[budget]
cost_usd = 5
[models.m.methods.a]
{method}budget = {{ cost_usd = 1 }}
"""
    everyone = frozenset({"m/a"})
    assert scopes(tmp_path, text) == [
        Scope(name="the sweep", allowance=Allowance(cost_usd=5), payers=everyone, lanes=everyone),
        Scope(name="m/a", allowance=Allowance(cost_usd=1), payers=everyone, lanes=everyone),
    ]


def test_a_methods_own_budget_in_dollars_needs_its_price(tmp_path: Path) -> None:
    """Another method without a price does not matter to it."""
    text = f"""name = "s"
[games.taboo]
[models.m.methods.a]
{REMOTE}budget = {{ cost_usd = 1 }}
[models.m.methods.b]
{REMOTE}
"""
    with pytest.raises(SpecError) as caught:
        scopes(tmp_path, text)
    assert "m.methods.a: has a budget in US dollars but no price" in str(caught.value)
    assert "m.methods.b" not in str(caught.value)


def test_without_a_budget_there_is_no_scope(tmp_path: Path) -> None:
    """Nothing is counted then."""
    assert scopes(tmp_path, 'name = "s"\n[games.taboo]\n[models.m.methods.a]\nbots = {}\n') == []
