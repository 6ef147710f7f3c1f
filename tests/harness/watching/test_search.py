"""The search for a panel, with a toy model whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import anyio
import pytest

from harness.core.errors import SpecError
from harness.watching.candidates import candidates
from harness.watching.panel import MethodPanel, choose_panel, read_panels, write_panels
from harness.watching.search import FirstToken, find_panel
from tests.disk import small_disk

PROMPTS = candidates(0, 1000)


class Model:
    """Answers flip for every `border`-th prompt; margins, if stated, grow with the prompt's place."""

    def __init__(self, *, border: int | None, margins: bool = False, text: str = "a") -> None:
        self.border, self.margins, self.text = border, margins, text
        self.calls = 0
        self.chance = Random(1)

    async def ask(self, prompts: Sequence[str], tries: int) -> dict[str, list[FirstToken]]:
        self.calls += len(prompts) * tries
        return {prompt: [self.token(PROMPTS.index(prompt)) for _ in range(tries)] for prompt in prompts}

    def token(self, place: int) -> FirstToken:
        flips = self.border is not None and place % self.border == 0 and self.chance.random() < 0.5
        return FirstToken("b" if flips else self.text, (1000 - place) / 100 if self.margins else None)


def found(model: Model, *, calls_max: int = 3000) -> MethodPanel:
    async def search() -> MethodPanel:
        return await find_panel("m/a", PROMPTS, model.ask, calls_max=calls_max)

    return anyio.run(search)


def test_prompts_that_flip_are_found_within_the_budget() -> None:
    """Every twentieth prompt flips: 40 prompts are in the panel at most, all of them flip, and a day has 200
    calls at most."""
    model = Model(border=20)
    panel = found(model)
    assert panel.kind == "border"
    assert len(panel.prompts) > 20
    assert all(PROMPTS.index(prompt) % 20 == 0 for prompt in panel.prompts)
    assert len(panel.prompts) * panel.repeats <= 200
    assert model.calls == panel.calls <= 3000


def test_a_search_ends_once_enough_prompts_flip() -> None:
    """If every answer flips, a chunk or two of candidates and their confirmation suffice."""
    model = Model(border=1)
    panel = found(model)
    assert (len(panel.prompts), panel.repeats) == (40, 5)
    assert model.calls <= 1200


def test_without_flips_the_smallest_margins_are_taken() -> None:
    """A deterministic engine with log-probabilities: the 40 candidates with the smallest margins."""
    panel = found(Model(border=None, margins=True))
    assert panel.kind == "margin"
    assert set(panel.prompts) == set(PROMPTS[760:800])
    assert (panel.repeats, panel.calls) == (5, 2400)


def test_without_flips_and_margins_the_panel_is_random_and_says_so() -> None:
    """A deterministic engine without log-probabilities: 200 candidates, each once a day."""
    panel = found(Model(border=None))
    assert (panel.kind, len(panel.prompts), panel.repeats) == ("random", 200, 1)
    assert "they show large changes only" in panel.sentence


@pytest.mark.parametrize("calls_max", [30, 100, 1000])
def test_a_small_budget_is_kept(calls_max: int) -> None:
    """No search makes more calls than it may."""
    model = Model(border=3)
    found(model, calls_max=calls_max)
    assert model.calls <= calls_max


def test_a_model_whose_first_token_is_no_text_is_refused() -> None:
    """One token of a model that thinks is a thought: the search ends after the first candidates."""
    model = Model(border=None, text="")
    with pytest.raises(SpecError, match="no one-token reply of 300 has text"):
        found(model)


def test_a_server_that_gives_no_reply_is_named(tmp_path: Path) -> None:
    """The search ends after the first candidates and does not blame thoughts."""

    class Silent(Model):
        async def ask(self, prompts: Sequence[str], tries: int) -> dict[str, list[FirstToken]]:
            return {prompt: [] for prompt in prompts}

    with pytest.raises(SpecError, match="m/a: none of 300 one-token calls has a reply"):
        found(Silent(border=None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda panel: [], "has no panel"),
        (lambda panel: [panel, panel], "has 2 panels of m/a"),
        (lambda panel: [replace(panel, prompts=("a", "b", "a"))], "one prompt twice"),
        (lambda panel: [replace(panel, repeats=11, prompts=panel.prompts[:20])], "220 calls a day"),
    ],
)
def test_a_panel_that_was_edited_badly_is_refused(
    change: Callable[[MethodPanel], list[MethodPanel]], words: str, tmp_path: Path
) -> None:
    """No file makes a day dearer than a search allows, or plays one method twice."""
    write_panels(tmp_path / "w.json", change(found(Model(border=20))))
    with pytest.raises(SpecError, match=words):
        read_panels(tmp_path / "w.json")


def test_a_panel_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    """A file that is not whole would stop the next search; a folder that is absent is named."""
    with small_disk(tmp_path / "disk", megabytes=1) as _:
        (tmp_path / "disk" / "full").write_bytes(b"x" * (1 << 20))
        with pytest.raises(SpecError, match="No space left"):
            write_panels(tmp_path / "disk" / "w.json", [found(Model(border=20))])
        assert not (tmp_path / "disk" / "w.json").exists()
    with pytest.raises(SpecError, match="its folder is absent or read-only"):
        write_panels(tmp_path / "absent" / "w.json", [found(Model(border=20))])


def test_few_flips_are_no_border_panel() -> None:
    """Four prompts that flip are too few for a mean."""
    answers = {prompt: ["a", "b" if place < 4 else "a"] for place, prompt in enumerate(PROMPTS[:300])}
    assert choose_panel("m/a", answers, {}, 600).kind == "random"


def test_a_panel_is_kept_in_a_file_that_is_not_overwritten(tmp_path: Path) -> None:
    """A panel that is written is read; a second panel needs another file; a broken file names its place."""
    panel = found(Model(border=20))
    path = tmp_path / "w.json"
    write_panels(path, [panel])
    assert read_panels(path) == (panel,)
    with pytest.raises(SpecError, match="there is a panel already"):
        write_panels(path, [panel])
    path.write_text(path.read_text().replace(f'"repeats": {panel.repeats}', '"repeats": 0'))
    with pytest.raises(SpecError, match="repeats"):
        read_panels(path)
    with pytest.raises(SpecError, match="watch init"):
        read_panels(tmp_path / "none.json")


def test_candidates_are_different_and_the_same_for_a_seed() -> None:
    """A panel's candidates can be drawn again."""
    assert len(set(PROMPTS)) == len(PROMPTS)
    assert candidates(0, 10) == PROMPTS[:10]
    assert candidates(1, 10) != PROMPTS[:10]
