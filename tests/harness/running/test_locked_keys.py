"""A store that is begun refuses another method under an old name."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from harness.config.load import parse_sweep
from harness.core.errors import SpecError
from harness.running.locked_keys import refuse_changes, spec_json

SWEEP = """
name = "s"
[games.taboo]
[models.m.methods.a]
"""


def test_an_engine_stays_what_it_is(tmp_path: Path) -> None:
    """Another dtype is another access method; the number of restarts and keys unknown to the store are
    not."""
    file = tmp_path / "s.toml"
    engine = 'engine = { kind = "vllm", weights = "w", dtype = "%s", restarts_max = %d }'

    def changed(dtype: str, restarts_max: int) -> None:
        text = SWEEP + engine % (dtype, restarts_max)
        file.write_text(text)
        spec = parse_sweep(text, source=str(file), known_games=["taboo"])
        refuse_changes(spec, file, earlier)

    before = parse_sweep(SWEEP + engine % ("float32", 3), source="s", known_games=["taboo"])
    earlier = orjson.loads(spec_json(before))
    del earlier["models"]["m"]["methods"]["a"]["engine"]["quantisation"]
    changed("float32", 0)
    with pytest.raises(
        SpecError, match=r"a\.engine\.dtype: was 'float32' when this store was made and is 'bfloat16' now"
    ):
        changed("bfloat16", 3)


def test_bots_may_become_faster_but_not_better() -> None:
    """The latency of bots may change over a store that is begun; another skill makes another method."""
    sweeps = {
        (latency_s, skill): parse_sweep(
            SWEEP + f"bots = {{ latency_s = {latency_s}, skill = {skill} }}",
            source="s",
            known_games=["taboo"],
        )
        for latency_s, skill in ((0.5, 0.8), (0.0, 0.8), (0.5, 0.9))
    }
    earlier = orjson.loads(spec_json(sweeps[0.5, 0.8]))
    refuse_changes(sweeps[0.0, 0.8], Path("s"), earlier)
    with pytest.raises(SpecError, match=r"a\.bots\.skill: was 0\.8 when this store was made and is 0\.9 now"):
        refuse_changes(sweeps[0.5, 0.9], Path("s"), earlier)


HTTP = 'base_url = "https://a.example/v1"\n'
CHANGES = [
    ("emulator = { skill = 0.8 }", "emulator = { skill = 0.9 }", ["emulator.skill: 0.8 -> 0.9"]),
    (
        "emulator = { defects = { stop_ignored = true } }",
        "emulator = {}",
        ["emulator.defects.stop_ignored: True -> False"],
    ),
    ("emulator = { quotas = { requests = 60 }, faults = { rate = 0.5 } }", "emulator = {}", []),
    ("emulator = {}", "bots = {}", ["bots: not set -> set", "emulator: set -> not set"]),
    (
        HTTP + 'headers = { x = "1", y = "2" }',
        HTTP + 'headers = { x = "3" }',
        ["headers.x: '1' -> '3'", "headers.y: '2' -> not set"],
    ),
    ('base_url = "http://127.0.0.1:1/v1"', 'base_url = "http://127.0.0.1:2/v1"', []),
]


@pytest.mark.parametrize(("before", "after", "told"), CHANGES)
def test_a_change_names_the_key_and_its_two_values(before: str, after: str, told: list[str]) -> None:
    """The innermost key that has changed, never two whole tables; what may change is not named."""
    earlier, now = (parse_sweep(SWEEP + text, source="s", known_games=["taboo"]) for text in (before, after))
    try:
        refuse_changes(now, Path("s"), orjson.loads(spec_json(earlier)))
        lines = []
    except SpecError as error:
        lines = str(error).splitlines()
    place, words = "s: models.m.methods.a.", (": was ", " when this store was made and is ", " now; ")
    for line in lines:
        assert line.startswith(place)
        assert all(word in line for word in words)
    found = [line.removeprefix(place).partition(" now; ")[0] for line in lines]
    assert sorted(one.replace(words[0], ": ").replace(words[1], " -> ") for one in found) == told
