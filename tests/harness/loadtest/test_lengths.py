"""Lengths by distribution."""

from __future__ import annotations

from statistics import fmean, pstdev

import pytest

from harness.core.errors import SpecError
from harness.core.seeds import stream
from harness.loadtest.lengths import LengthDistribution, parse_length


def test_a_text_becomes_a_distribution() -> None:
    """MEAN, MEAN:SD and MEAN:SD:MIN:MAX are read; what is left out has defaults."""
    assert parse_length("512", "--x") == LengthDistribution(mean=512, least=1)
    assert parse_length("512:64", "--x") == LengthDistribution(mean=512, sd=64, least=1)
    assert parse_length("5:1:2:9", "--x") == LengthDistribution(mean=5, sd=1, least=2, most=9)
    assert parse_length("0.5", "--x", least=0).mean == 0.5


@pytest.mark.parametrize(
    "text", ["", "a", "5:", "5:1:2", "0", "5:-1", "5:1:6:9", "5:1:2:4", "1:1:1:1:1", "nan", "inf"]
)
def test_what_is_no_distribution_is_refused(text: str) -> None:
    """The message names the option and the form."""
    with pytest.raises(SpecError, match=r"--x .*write MEAN, MEAN:SD"):
        parse_length(text, "--x")


def test_draws_have_the_mean_and_keep_the_bounds() -> None:
    """Draws of 100:20 have that mean and spread; bounds cut."""
    chance = stream(1, "lengths")
    drawn = [parse_length("100:20", "--x").draw_whole(chance) for _ in range(20_000)]
    assert fmean(drawn) == pytest.approx(100, rel=0.01)
    assert pstdev(drawn) == pytest.approx(20, rel=0.03)
    cut = [parse_length("100:20:90:110", "--x").draw_whole(chance) for _ in range(1000)]
    assert (min(cut), max(cut)) == (90, 110)
