"""What the answers to probes mean: how an access method treats what is asked of it. Pure.

Nothing here needs a model that obeys: every judgement compares replies with each other, or counts with counts. `judge` reads rows,
fresh or from a store. The statistic for temperature is a relabelling within prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from harness.audit.probes.asks import LENGTHS, LONG_TOKENS, SEED, SHORT_TOKENS, TOPICS
from harness.core.records import ProbeRecord

Answer = Literal["kept", "broken", "unclear", "untested"]

DRAWS = 999
STRAYS = 0.05  # of greedy replies that are not the usual one: so few say nothing
EARLY = 0.25  # of a reply: near-ties of one model's own words come anywhere in it, another model's words differ from the start


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFinding:
    """What the probes say of one thing that was asked of a method.

    subject   "temperature", "seed", "max tokens", "output cap", "stop", "usage", "prompt", "template", "context", "letters",
              "one server", "one model", "words"
    answer    kept: as asked; broken: not; unclear: the rows contradict each other or are too few; untested: not asked, or refused
    figures   what the sentence rests on"""

    method: str
    subject: str
    answer: Answer
    sentence: str
    figures: Mapping[str, float]


def interpret_probes(rows: Sequence[ProbeRecord], references: Mapping[str, str]) -> tuple[ProbeFinding, ...]:
    """The findings of every method, in the order of the rows.

    references   method -> the method it is held against; one that is absent, or held against itself, is judged alone"""
    by_method: dict[str, list[ProbeRecord]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    found: list[ProbeFinding] = []
    for method, own in by_method.items():
        reference = references.get(method)
        beside = by_method.get(reference, []) if reference is not None and reference != method else []
        found += _judge_one(method, own, beside)
    return tuple(found)


def _judge_one(
    method: str, own: Sequence[ProbeRecord], beside: Sequence[ProbeRecord]
) -> Iterable[ProbeFinding]:
    verdicts: list[tuple[str, Answer, str, Mapping[str, float]]] = [
        ("usage", *_usage(own)),
        ("max tokens", *_max_tokens(own)),
        ("output cap", *_cap(own)),
        ("stop", *_stop(own)),
        ("context", *_context(own)),
        *_prompt_and_template(own, beside),
        ("temperature", *_temperature(own)),
        ("seed", *_seed(own)),
        ("letters", *_letters(own, beside)),
        ("one server", *_one_server(own)),
        ("one model", *_one_model(own, beside)),
        ("words", *_words(own, beside)),
    ]
    for subject, answer, sentence, figures in verdicts:
        yield ProbeFinding(method=method, subject=subject, answer=answer, sentence=sentence, figures=figures)


_Verdict = tuple[Answer, str, Mapping[str, float]]


def _of(rows: Sequence[ProbeRecord], kind: str) -> list[ProbeRecord]:
    """The answered rows of one probe."""
    return [row for row in rows if row.kind == kind and row.reply is not None]


def _refused(rows: Sequence[ProbeRecord], kind: str) -> str:
    """Why there are none."""
    said = [row.error_text for row in rows if row.kind == kind and row.error_text]
    return f"not answered: {said[0]}" if said else "not asked"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _usage(rows: Sequence[ProbeRecord]) -> _Verdict:
    answered = [row for row in rows if row.reply is not None]
    if not answered:
        return "untested", _refused(rows, "length"), {}
    uncounted = sum(row.prompt_tokens is None or row.completion_tokens is None for row in answered)
    if uncounted:
        return (
            "broken",
            f"{uncounted} of {len(answered)} answers do not say what they cost",
            {"uncounted": uncounted},
        )
    empty = sum(bool(row.reply) and not row.completion_tokens for row in answered)
    if empty:
        return "broken", f"{empty} of {len(answered)} replies are counted as no tokens", {"empty": empty}
    return "kept", f"all {len(answered)} answers say what they cost", {}


def _max_tokens(rows: Sequence[ProbeRecord]) -> _Verdict:
    short = _of(rows, "short")
    if not short:
        return "untested", _refused(rows, "short"), {}
    over = [
        row for row in short if row.completion_tokens is not None and row.completion_tokens > row.tokens_max
    ]
    if over:
        most = max(row.completion_tokens or 0 for row in over)
        return (
            "broken",
            f"asked for {SHORT_TOKENS} tokens, it gave {most}",
            {"asked": SHORT_TOKENS, "given": most},
        )
    lengths = {row.name: len(row.reply or "") for row in _of(rows, "greedy")}
    longer = [
        row
        for row in short
        if row.name in lengths
        and len(row.reply or "") >= lengths[row.name] > 0
        and row.finish_reason != "stop"
    ]
    if longer:
        given = len(longer[0].reply or "")
        return (
            "broken",
            f"asked for {SHORT_TOKENS} tokens, it gave {given} characters and counts them as fewer tokens",
            {"given": given},
        )
    return "kept", f"no reply was longer than the {SHORT_TOKENS} tokens asked for", {}


_CUT = frozenset({"length", "max_tokens", "MAX_TOKENS"})


def _cap(rows: Sequence[ProbeRecord]) -> _Verdict:
    long = [row for row in _of(rows, "long") if row.completion_tokens is not None]
    if not long:
        return "untested", _refused(rows, "long"), {}
    counts = [row.completion_tokens or 0 for row in long]
    cut_early = [
        row for row in long if row.finish_reason in _CUT and (row.completion_tokens or 0) < row.tokens_max
    ]
    if cut_early:
        cap = max(row.completion_tokens or 0 for row in cut_early)
        return "broken", f"allowed {LONG_TOKENS} tokens, replies were cut at {cap}", {"cap": cap}
    if len(counts) > 1 and len(set(counts)) == 1 and counts[0] < LONG_TOKENS:
        return (
            "unclear",
            f"every long reply has {counts[0]} tokens and claims to have ended by itself",
            {"cap": counts[0]},
        )
    return "kept", f"replies of up to {max(counts)} tokens came whole", {"longest": max(counts)}


def _stop(rows: Sequence[ProbeRecord]) -> _Verdict:
    asked = _of(rows, "stop")
    if not asked:
        return "untested", _refused(rows, "stop"), {}
    verdicts: list[Answer] = []
    for row in asked:
        stop, reply = row.stop or "", row.reply or ""
        known = [one.reply or "" for one in _of(rows, "greedy") if one.name == row.name]
        expected = {text[: text.find(stop)] for text in known if stop in text}
        if stop in reply:
            kept_in = reply.endswith(stop)
            words = (
                "ends with the stop text, which should not come" if kept_in else "goes on after the stop text"
            )
            return "broken", f"a reply {words} ({stop.strip()!r})", {}
        verdicts.append(
            "kept"
            if reply in expected or reply.rstrip() in {text.rstrip() for text in expected}
            else "unclear"
        )
    if "unclear" in verdicts:
        return (
            "unclear",
            "replies differ before the stop text could come: ask again where temperature 0 repeats",
            {},
        )
    return "kept", "replies end where the stop text would have come", {}


def _context(rows: Sequence[ProbeRecord]) -> _Verdict:
    counts = {row.name: row.prompt_tokens for row in _of(rows, "length") if row.prompt_tokens is not None}
    replies = {row.name: row.reply for row in _of(rows, "beginning")}
    near = {replies.get("near 0"), replies.get("near 1")}
    far = {replies.get("far 0"), replies.get("far 1")}
    forgets = None not in near | far and len(near) == 2 and len(far) == 1
    if all(str(words) in counts for words in LENGTHS):
        ten, hundred, thousand = (counts[str(words)] for words in LENGTHS[1:])
        grown, expected = thousand - hundred, 10 * (hundred - ten)
        if grown < 0.8 * expected:
            words = (
                "and what a long prompt begins with changes nothing"
                if forgets
                else "though its beginning still matters"
            )
            return (
                "broken",
                f"a prompt ten times as long counts only {thousand} tokens, {words}",
                {"tokens": thousand},
            )
        if forgets:
            return (
                "unclear",
                f"{thousand} tokens are counted, but what a long prompt begins with changes nothing",
                {"tokens": thousand},
            )
        if len(far) == 2 and None not in far:
            return (
                "kept",
                f"what stands before a thousand tokens still changes the reply; {thousand} tokens were counted",
                {},
            )
        return "unclear", "counts grow as they should; whether the beginning is read could not be seen", {}
    return "untested", _refused(rows, "length"), {}


def _prompt_and_template(
    own: Sequence[ProbeRecord], beside: Sequence[ProbeRecord]
) -> list[tuple[str, Answer, str, Mapping[str, float]]]:
    """prompt_tokens here = alpha + beta x there + gamma x messages, in whole tokens: alpha is a prompt, gamma a template."""
    here, there = _lengths(own), _lengths(beside)
    if not here:
        why = _refused(own, "length")
        return [("prompt", "untested", why, {}), ("template", "untested", why, {})]
    single, three = [str(words) for words in LENGTHS], "three messages"
    if not set(here) <= set(there):
        before = here.get("1", 0) - 1 - 1
        words = f"a one-word message costs {here.get('1', 0)} tokens; without a reference's count that says little"
        return [
            ("prompt", "untested", words, {"before": before}),
            ("template", "untested", "needs a reference", {}),
        ]
    more = [here[name] - there[name] for name in single]
    figures = {"one word": more[0], "a thousand": more[-1], "three messages": here[three] - there[three]}
    if len(set(more)) > 1:
        slope = (here["1000"] - here["1"]) / max(1, there["1000"] - there["1"])
        if slope < 0.9 and here["1000"] - here["100"] < 0.8 * 10 * (here["100"] - here["10"]):
            words = "the counts of long prompts are cut: see context"
            return [("prompt", "unclear", words, figures), ("template", "unclear", words, figures)]
        words = f"the same text costs {slope:.2f} times the reference's tokens: another tokenizer, or rounded counts"
        return [("prompt", "unclear", words, figures), ("template", "unclear", words, figures)]
    each = (here[three] - there[three] - (here["one of them"] - there["one of them"])) / 2
    extra = more[0] - each
    prompt: tuple[str, Answer, str, Mapping[str, float]]
    if extra > 0:
        words = f"every conversation costs {extra:g} tokens more than at the reference: a prompt is put before it, or a special token"
        prompt = ("prompt", "broken", words, figures)
    elif extra < 0:
        words = f"every conversation costs {-extra:g} tokens less than at the reference, which may be the one that adds something"
        prompt = ("prompt", "broken", words, figures)
    else:
        prompt = ("prompt", "kept", "conversations cost as many tokens as at the reference", figures)
    if each:
        words = f"every message costs {abs(each):g} tokens {'more' if each > 0 else 'less'} than at the reference: another chat template"
        return [prompt, ("template", "broken", words, figures)]
    return [prompt, ("template", "kept", "messages are counted as at the reference", figures)]


def _lengths(rows: Sequence[ProbeRecord]) -> dict[str, int]:
    return {row.name: row.prompt_tokens for row in _of(rows, "length") if row.prompt_tokens is not None}


def _temperature(rows: Sequence[ProbeRecord]) -> _Verdict:
    prompts = [
        (
            [row.reply or "" for row in _of(rows, "greedy") if row.name == str(topic)],
            [row.reply or "" for row in _of(rows, "warm") if row.name == str(topic)],
        )
        for topic in range(len(TOPICS))
    ]
    prompts = [(cold, warm) for cold, warm in prompts if len(cold) >= 2 and len(warm) >= 2]
    if not prompts:
        return "untested", _refused(rows, "warm" if _of(rows, "greedy") else "greedy"), {}
    cold = float(np.mean([_match(replies) for replies, _ in prompts]))
    warm = float(np.mean([_match(replies) for _, replies in prompts]))
    p = _p_colder(prompts)
    figures = {"match at 0": cold, "match at 1": warm, "p": p}
    said = f"replies to one prompt agree in {_percent(cold)} at temperature 0 and in {_percent(warm)} at 1 (p = {p:.3f})"
    if p <= 0.01 and cold >= 0.6:
        return "kept", said, figures
    if p > 0.05 and warm >= 0.9:
        return "broken", f"{said}: it is always greedy, or answers from a cache", figures
    if p > 0.05 and cold < 0.5:
        return "broken", f"{said}: temperature 0 is not served", figures
    if cold < 0.6:
        return "unclear", f"{said}: it may be served warmer than asked, or its batches are noisy", figures
    return "unclear", said, figures


def _match(replies: Sequence[str]) -> float:
    """Share of pairs that agree."""
    pairs = list(combinations(replies, 2))
    return sum(one == other for one, other in pairs) / len(pairs)


def _p_colder(prompts: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Chance that replies drawn alike agree so much more often in the first group: labels are dealt anew within each prompt."""
    rng = np.random.default_rng(1)
    observed, dealt = 0.0, np.zeros(DRAWS)
    for first, second in prompts:
        replies, size = [*first, *second], len(first)
        alike = np.array([[one == other for other in replies] for one in replies], dtype=float)
        np.fill_diagonal(alike, 0.0)

        def excess(
            chosen: np.ndarray, alike: np.ndarray = alike, size: int = size, rest: int = len(second)
        ) -> np.ndarray:
            inside = np.einsum("di,ij,dj->d", chosen, alike, chosen) / (size * (size - 1))
            outside = np.einsum("di,ij,dj->d", 1 - chosen, alike, 1 - chosen) / (rest * (rest - 1))
            return np.asarray(inside - outside)

        found = excess(_labellings(size, len(replies), rng))
        observed += float(found[0])
        dealt += found[1:]
    return float((1 + np.sum(dealt >= observed - 1e-12)) / (DRAWS + 1))


def _seed(rows: Sequence[ProbeRecord]) -> _Verdict:
    asked = _of(rows, "seed")
    same = [row.reply or "" for row in asked if row.name == str(SEED)]
    others = [row.reply or "" for row in asked if row.name != str(SEED)]
    if len(same) < 2 or len(others) < 2:
        return "untested", _refused(rows, "seed"), {}
    within, across = _match(same), _match([same[0], *others])
    figures = {"same seed": within, "other seeds": across}
    said = f"at temperature 1 replies agree in {_percent(within)} with one seed and in {_percent(across)} with others"
    if across >= 0.9:
        return "unclear", f"{said}: nothing varies that a seed could hold still", figures
    if within > across + 0.3:
        return "kept", said, figures  # less than always may be the same noise that temperature 0 shows
    if within <= across + 0.15:
        return "broken", f"{said}: the seed is ignored", figures
    return "unclear", said, figures


def _letters(own: Sequence[ProbeRecord], beside: Sequence[ProbeRecord]) -> _Verdict:
    here, there = _small_first(own), _small_first(beside)
    if len(here) < 10:
        return "untested", "too few replies begin with a letter", {}
    share = sum(here) / len(here)
    if share < 0.9:
        return "kept", f"{_percent(1 - share)} of the replies begin with a capital", {"small": share}
    said = f"{_percent(share)} of the replies begin with a small letter"
    if len(there) >= 10 and sum(there) / len(there) <= 0.5:
        return (
            "broken",
            f"{said}, and {_percent(sum(there) / len(there))} of the reference's",
            {"small": share},
        )
    return "unclear", said, {"small": share}


def _small_first(rows: Sequence[ProbeRecord]) -> list[bool]:
    replies = [
        row.reply.strip() for row in rows if row.reply and row.kind in ("greedy", "warm", "seed", "long")
    ]
    return [reply[0].islower() for reply in replies if reply and reply[0].isalpha()]


def _one_server(rows: Sequence[ProbeRecord]) -> _Verdict:
    answered = [row for row in rows if row.reply is not None]
    named = Counter((row.served_model, row.upstream, row.system_fingerprint) for row in answered)
    if not answered:
        return "untested", _refused(rows, "greedy"), {}
    if len(named) > 1:
        told = ", ".join(f"{' '.join(filter(None, name))} ({count})" for name, count in named.most_common())
        return "broken", f"answers name {len(named)} configurations: {told}", {"configurations": len(named)}
    (only,) = named
    if not only[1] and not only[2]:
        return "untested", "answers do not say which configuration gave them", {}
    return (
        "kept",
        f"all answers name one configuration: {' '.join(filter(None, only))}",
        {"configurations": 1},
    )


def _one_model(own: Sequence[ProbeRecord], beside: Sequence[ProbeRecord]) -> _Verdict:
    """A second model has one greedy reply of its own to each prompt: it comes back, it parts from the usual one early, and the reference
    does not know it. Noise says something else each time."""
    asked = second = times_second = strays = noisy = 0
    for topic in range(len(TOPICS)):
        replies = Counter(row.reply for row in _of(own, "greedy") if row.name == str(topic))
        known = {row.reply for row in _of(beside, "greedy") if row.name == str(topic)}
        if replies.total() < 2:
            continue
        asked += replies.total()
        (usual, _), *others = replies.most_common()
        if not others:
            continue
        (other, times), here = others[0], sum(count for _, count in others)
        strays += here
        noisy += times == 1 < here
        if (
            times >= 2
            and 2 * times > here
            and _common(usual or "", other or "") < EARLY * len(usual or "")
            and not known >= {usual, other}
        ):
            second, times_second = second + 1, times_second + times
    if asked < 2:
        return "untested", _refused(own, "greedy"), {}
    figures = {"replies": asked, "not the usual one": strays, "prompts with a second one": second}
    if second >= 2:
        said = f"at temperature 0 a second reply comes back to {second} of {len(TOPICS)} prompts, {times_second} times in all"
        return "broken", said, figures
    if not second and (strays <= asked * STRAYS or noisy):
        return "kept", f"of {asked} greedy replies {strays} were not the usual one: no second model", figures
    return (
        "unclear",
        f"of {asked} greedy replies {strays} were not the usual one: several models, or noisy batches",
        figures,
    )


def _common(one: str, other: str) -> int:
    """Characters on which two texts agree from the start."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _words(own: Sequence[ProbeRecord], beside: Sequence[ProbeRecord]) -> _Verdict:
    """Are greedy replies as alike across the two methods as within? Compared as far as the shortest goes: lengths have their own probes."""
    prompts = []
    for topic in range(len(TOPICS)):
        here = [row.reply or "" for row in _of(own, "greedy") if row.name == str(topic)]
        there = [row.reply or "" for row in _of(beside, "greedy") if row.name == str(topic)]
        if len(here) >= 2 and len(there) >= 2:
            shortest = min(filter(None, map(len, [*here, *there])), default=0)
            prompts.append(([reply[:shortest] for reply in here], [reply[:shortest] for reply in there]))
    if not prompts:
        return "untested", "needs a reference's replies to the same prompts", {}
    within = float(np.mean([(_match(here) + _match(there)) / 2 for here, there in prompts]))
    across = float(
        np.mean([np.mean([one == other for one in here for other in there]) for here, there in prompts])
    )
    p = _p_apart(prompts)
    figures = {"within": within, "across": across, "p": p}
    said = f"at temperature 0 replies agree in {_percent(within)} within and in {_percent(across)} across the two methods (p = {p:.3f})"
    return ("broken" if p <= 0.01 else "kept" if across >= within - 0.1 else "unclear"), said, figures


def _p_apart(prompts: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Chance that replies of one source, dealt to two methods within each prompt, agree so much less across than within."""
    rng = np.random.default_rng(2)
    observed, dealt = 0.0, np.zeros(DRAWS)
    for here, there in prompts:
        replies, size = [*here, *there], len(here)
        alike = np.array([[one == other for other in replies] for one in replies], dtype=float)
        chosen = _labellings(size, len(replies), rng)
        across = np.einsum("di,ij,dj->d", chosen, alike, 1 - chosen)
        observed += float(across[0])
        dealt += across[1:]
    return float((1 + np.sum(dealt <= observed + 1e-12)) / (DRAWS + 1))


def _labellings(size: int, replies: int, rng: np.random.Generator) -> np.ndarray:
    """(1 + DRAWS, replies): 1 where a reply is of the first group, of so many; first as they are, then dealt anew."""
    identity = np.zeros((1, replies))
    identity[0, :size] = 1
    order = np.argsort(rng.random((DRAWS, replies)), axis=1)
    return np.concatenate([identity, (order < size).astype(float)])
