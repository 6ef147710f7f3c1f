"""Causes of a difference, from the signs that probes, replies and scores give. Pure.

A cause is *supported* when all its signs are present and none contradicts it, *consistent* when some are,
*refuted* when a sign contradicts it, else *untested*. Causes are read in order, because each can imitate the
later ones: other weights or numerics, which only show in the words of replies, are supported when every
earlier cause that could have changed the words is refuted. Three causes need more than every check has (a
model that thinks, weights on this machine, eight calls in flight); untested, they exclude no later cause.
Keeps: without a sign no cause is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from harness.audit.probes.interpret import ProbeFinding
from harness.audit.scores.findings import Comparison
from harness.core.records import ProbeRecord

State = Literal["supported", "consistent", "refuted", "untested"]

SPECIAL_TOKENS = ("<|", "|>", "[INST]", "</s>", "<s>")  # of ChatML, Llama 2 and 3, Mistral
STEADY = 1.0  # points of 100, mean over games; a third of the default margin of an audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """A method's games compared with its reference's. None: not known.

    form, play      the two parts of the difference in points, mean over games: by aborted episodes, by
                    quality
    failed_apart    failed episodes are many or their rates differ"""

    replies_differ: bool | None = None
    form: float | None = None
    play: float | None = None
    failed_apart: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseFinding:
    """One possible cause, its state, and the signs for it."""

    cause: str
    state: State
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """All causes of one method in the order of reading; named: the supported ones."""

    method: str
    causes: tuple[CauseFinding, ...]
    named: tuple[str, ...]
    sentence: str


def symptoms_of(comparison: Comparison, replies_differ: bool | None) -> Symptoms:
    """Returns the symptoms in one comparison of scores."""
    games = len(comparison.games)
    return Symptoms(
        replies_differ=replies_differ,
        form=sum(game.form for game in comparison.games) / games if games else None,
        play=sum(game.play for game in comparison.games) / games if games else None,
        failed_apart=comparison.missing is not None,
    )


def attribute(
    method: str, findings: Sequence[ProbeFinding], rows: Sequence[ProbeRecord], symptoms: Symptoms
) -> Attribution:
    """Returns the state of each cause for one method.

    findings, rows   of the probes of all methods
    symptoms         of this method's games"""
    by_subject = {finding.subject: finding for finding in findings if finding.method == method}
    evidence = _Evidence(by_subject, [row for row in rows if row.method == method], symptoms)
    causes: list[CauseFinding] = []
    for cause, judge in _CAUSES:
        state, why = judge(evidence)
        causes.append(CauseFinding(cause=cause, state=state, why=why))
    causes.append(_weights(evidence, causes))
    causes.append(_formats(evidence, causes))
    named = tuple(cause.cause for cause in causes if cause.state == "supported")
    return Attribution(method=method, causes=tuple(causes), named=named, sentence=_sentence(method, causes))


def _sentence(method: str, causes: Sequence[CauseFinding]) -> str:
    named = [f"{cause.cause} ({cause.why})" for cause in causes if cause.state == "supported"]
    if named:
        return f"Cause at {method}: {'; '.join(named)}."
    consistent = [cause.cause for cause in causes if cause.state == "consistent"]
    untested = [cause.cause for cause in causes if cause.state == "untested"]
    words = f"{method}: the check shows no certain cause."
    if consistent:
        words += f" Possible causes: {'; '.join(consistent)}."
    if untested:
        words += f" Causes that were not tested: {'; '.join(untested)}."
    return words


# --- signs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    by_subject: Mapping[str, ProbeFinding]
    rows: Sequence[ProbeRecord]
    symptoms: Symptoms

    def probed(self, subject: str) -> tuple[State, str]:
        """Returns the state of a cause that has a probe of its own."""
        finding = self.by_subject.get(subject)
        if finding is None:
            return "untested", "not probed"
        states: Mapping[str, State] = {
            "broken": "supported",
            "kept": "refuted",
            "unclear": "consistent",
            "untested": "untested",
        }
        return states[finding.answer], finding.sentence

    def figure(self, subject: str, name: str) -> float | None:
        finding = self.by_subject.get(subject)
        return finding.figures.get(name) if finding else None

    @property
    def words_differ(self) -> bool | None:
        """Returns whether greedy replies are those of another model: as the probes say, or the games' replies
        if no probe was asked; None if neither says it."""
        finding = self.by_subject.get("words")
        if finding is not None and finding.answer in ("broken", "kept"):
            return finding.answer == "broken"
        return self.symptoms.replies_differ


def _trouble(evidence: _Evidence) -> tuple[State, str]:
    if evidence.symptoms.failed_apart is None:
        return "untested", "no games were compared"
    if evidence.symptoms.failed_apart:
        return (
            "consistent",
            "many episodes failed, or one method failed more often: the missing episodes may be the cause of the difference",
        )
    return "refuted", "few episodes failed, about as many in both methods"


def _by_probe(subject: str) -> Callable[[_Evidence], tuple[State, str]]:
    return lambda evidence: evidence.probed(subject)


def _template(evidence: _Evidence) -> tuple[State, str]:
    """Needs two signs: one alone has other explanations."""
    state, why = evidence.probed("template")
    leaks = [row for row in evidence.rows if row.reply and any(mark in row.reply for mark in SPECIAL_TOKENS)]
    form, play = evidence.symptoms.form, evidence.symptoms.play
    signs = [why] if state == "supported" else []
    if leaks:
        signs.append(f"{len(leaks)} replies contain special tokens")
    if signs and evidence.words_differ:
        signs.append("the words differ")
    if form is not None and play is not None and form < -STEADY and abs(play) < STEADY:
        signs.append("replies break the format and quality is steady")
    if len(signs) >= 2:
        return "supported", " and ".join(signs)
    if signs and not (state == "refuted" and evidence.probed("words")[0] == "refuted"):
        return "consistent", signs[0]
    return state, why


def _by_replies(subject: str) -> Callable[[_Evidence], tuple[State, str]]:
    """Judges a cause by the texts of replies, which thoughts in them exclude."""

    def judge(evidence: _Evidence) -> tuple[State, str]:
        if evidence.probed("thoughts")[0] == "supported":
            return "untested", "replies contain thoughts, so their texts show nothing of this"
        return evidence.probed(subject)

    return judge


def _max_tokens(evidence: _Evidence) -> tuple[State, str]:
    """Uses the counts of tokens, and texts only where no thoughts stand in them."""
    by_count = evidence.figure("max tokens", "asked") is not None
    return evidence.probed("max tokens") if by_count else _by_replies("max tokens")(evidence)


def _counts(evidence: _Evidence) -> tuple[State, str]:
    """Uses the count of our own tokenizer; a hidden prompt, another template or a cut prompt explains it."""
    state, why = evidence.probed("own tokenizer")
    reasons = [
        subject for subject in ("prompt", "template", "context") if evidence.probed(subject)[0] == "supported"
    ]
    if state == "supported" and reasons:
        return "consistent", f"{why}, which these findings can explain: {', '.join(reasons)}"
    return state, why


def _routing(evidence: _Evidence) -> tuple[State, str]:
    """Uses the configurations that answers name; else repeated greedy replies that are not the most frequent
    ones."""
    admitted, why = evidence.probed("one server")
    if admitted == "supported":
        return admitted, why
    if evidence.probed("temperature")[0] == "supported":
        return "untested", "temperature 0 is not served, so replies cannot show how many models there are"
    if evidence.probed("load")[0] == "supported":
        return "untested", "replies depend on the load, so they cannot show how many models there are"
    return _by_replies("one model")(evidence)


def _formats(evidence: _Evidence, earlier: Sequence[CauseFinding]) -> CauseFinding:
    """Supports this cause if replies break the format and nothing else differs. Probes ask for no format."""
    form, play = evidence.symptoms.form, evidence.symptoms.play
    if form is None or play is None:
        return CauseFinding(cause=_FORMATS, state="untested", why="no games were compared")
    if form > -STEADY:
        why = f"replies keep the format as often as the reference's ({form:+.1f} points)"
        return CauseFinding(cause=_FORMATS, state="refuted", why=why)
    observed = f"replies break the format ({form:+.1f} points)"
    if abs(play) >= max(STEADY, abs(form) / 2):
        why = f"{observed}, but quality differs too ({play:+.1f})"
        return CauseFinding(cause=_FORMATS, state="consistent", why=why)
    if open_causes := _open_causes(earlier, _KEEP_FORMAT):
        why = f"{observed}, but these could have the same effect: {', '.join(open_causes)}"
        return CauseFinding(cause=_FORMATS, state="consistent", why=why)
    why = f"{observed} while quality is steady ({play:+.1f}), and all probes have the same result as at the reference"
    return CauseFinding(cause=_FORMATS, state="supported", why=why)


def _open_causes(earlier: Sequence[CauseFinding], harmless: Set[str]) -> list[str]:
    """Returns the earlier causes that can have the same effect and are not excluded.

    harmless   causes that cannot have it"""
    return [
        one.cause
        for one in earlier
        if one.cause not in harmless
        and (one.state == "supported" if one.cause in _NOT_ALWAYS_TESTED else one.state != "refuted")
    ]


_WORDS = "another model, weights, quantisation or numerics"
_FORMATS = "replies broken in form"
_COUNTS = "prompt tokens counted differently"
_EFFORT = "reasoning effort ignored"
_LOAD = "replies that depend on the load"

_CAUSES: tuple[tuple[str, Callable[[_Evidence], tuple[State, str]]], ...] = (
    ("provider trouble", _trouble),
    ("thoughts in replies", _by_probe("thoughts")),
    ("max tokens ignored", _max_tokens),
    ("a cap on output", _by_probe("output cap")),
    ("stop ignored", _by_replies("stop")),
    (_EFFORT, _by_probe("effort")),
    ("context cut", _by_probe("context")),
    ("a prompt of its own", _by_probe("prompt")),
    ("another chat template", _template),
    (_COUNTS, _counts),
    ("temperature not served", _by_replies("temperature")),
    ("seed ignored", _by_replies("seed")),
    ("letters changed", _by_probe("letters")),
    (_LOAD, _by_replies("load")),
    ("several models behind one name", _routing),
)

# They leave the format of a short reply as it is.
_KEEP_FORMAT = frozenset({"provider trouble", "max tokens ignored", _COUNTS, "seed ignored"})

# They leave the words of a short greedy reply as they are, so that other weights can be named beside them.
_LEAVE_WORDS = frozenset(
    {
        "provider trouble",
        "max tokens ignored",
        "a cap on output",
        "stop ignored",
        _COUNTS,
        "seed ignored",
        _FORMATS,
    }
)

# While these causes are untested or unclear, a later cause can still be supported.
_NOT_ALWAYS_TESTED = frozenset({_EFFORT, _COUNTS, _LOAD})


def _weights(evidence: _Evidence, earlier: Sequence[CauseFinding]) -> CauseFinding:
    """Supports this cause if words differ and every other cause that could change them is refuted."""
    differ = evidence.words_differ
    sentence = evidence.probed("words")[1]
    if differ is None:
        return CauseFinding(cause=_WORDS, state="untested", why=sentence)
    if not differ:
        return CauseFinding(cause=_WORDS, state="refuted", why=sentence)
    if open_causes := _open_causes(earlier, _LEAVE_WORDS):
        why = f"words differ, but these could have the same effect: {', '.join(open_causes)}"
        return CauseFinding(cause=_WORDS, state="consistent", why=why)
    why = f"{sentence}, and every other cause is excluded"
    return CauseFinding(cause=_WORDS, state="supported", why=why)
