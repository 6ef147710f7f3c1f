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
    with pytest.raises(SpecError, match=r"a\.bots: was .* when this store was made"):
        refuse_changes(sweeps[0.5, 0.9], Path("s"), earlier)
