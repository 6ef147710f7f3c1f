"""Why a method differs: from the signs that probes, replies and scores give, never a guess. Pure.

A cause is *supported* when all its signs are there and none speaks against it, *consistent* when some are, *refuted* when one is that it
could not give, else *untested*. Causes are read in order, because each imitates the later ones: a cause that only shows in what is said -
other weights, other numerics - is believed when every earlier one that could have changed the words is refuted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.audit.probes.interpret import ProbeFinding
from harness.audit.scores.findings import Comparison
from harness.core.records import ProbeRecord

State = Literal["supported", "consistent", "refuted", "untested"]

SPECIAL_TOKENS = ("<|", "|>", "[INST]", "</s>", "<s>")
STEADY = 1.0  # points of a game's difference that are no sign


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptoms:
    """What games have shown of a method against its reference. None: not known.

    form, play      the two parts of the difference, mean over games
    failed_apart    failed episodes are many and uneven"""

    replies_differ: bool | None = None
    form: float | None = None
    play: float | None = None
    failed_apart: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseFinding:
    """One possible cause, how it stands, and why."""

    cause: str
    state: State
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """All causes of one method in the order of reading. named: those to believe; sentence: for a person."""

    method: str
    causes: tuple[CauseFinding, ...]
    named: tuple[str, ...]
    sentence: str


def symptoms_of(comparison: Comparison, replies_differ: bool | None) -> Symptoms:
    """What one comparison of scores shows."""
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
    """How each cause stands.

    findings   of all methods' probes; rows: the probes themselves"""
    by_subject = {finding.subject: finding for finding in findings if finding.method == method}
    evidence = _Evidence(by_subject, [row for row in rows if row.method == method], symptoms)
    causes: list[CauseFinding] = []
    for cause, how in _CAUSES:
        state, why = how(evidence)
        causes.append(CauseFinding(cause=cause, state=state, why=why))
    causes.append(_weights(evidence, causes))
    causes.append(_forms(evidence, causes))
    named = tuple(one.cause for one in causes if one.state == "supported")
    return Attribution(method=method, causes=tuple(causes), named=named, sentence=_sentence(method, causes))


def _sentence(method: str, causes: Sequence[CauseFinding]) -> str:
    named = [f"{one.cause} ({one.why})" for one in causes if one.state == "supported"]
    if named:
        return f"Cause at {method}: {'; '.join(named)}."
    open_still = [one.cause for one in causes if one.state == "consistent"]
    untested = [one.cause for one in causes if one.state == "untested"]
    words = f"No cause at {method} can be named"
    if open_still:
        words += f"; consistent with what was seen: {', '.join(open_still)}"
    if untested:
        words += f"; untested: {', '.join(untested)}"
    return f"{words}."


# --- signs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Evidence:
    by_subject: Mapping[str, ProbeFinding]
    rows: Sequence[ProbeRecord]
    symptoms: Symptoms

    def probed(self, subject: str) -> tuple[State, str]:
        """A cause that has a probe to itself stands as the probe says."""
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
        """Whether greedy replies are another model's, by the probes, else by the games' replies."""
        finding = self.by_subject.get("words")
        if finding is not None and finding.answer in ("broken", "kept"):
            return finding.answer == "broken"
        return self.symptoms.replies_differ


def _trouble(evidence: _Evidence) -> tuple[State, str]:
    if evidence.symptoms.failed_apart is None:
        return "untested", "no games were compared"
    if evidence.symptoms.failed_apart:
        return "consistent", "failed episodes are many or uneven: what is missing may be what differs"
    return "refuted", "hardly an episode failed"


def _by_probe(subject: str) -> Callable[[_Evidence], tuple[State, str]]:
    return lambda evidence: evidence.probed(subject)


def _template(evidence: _Evidence) -> tuple[State, str]:
    """Two signs are needed: one alone has other explanations."""
    state, why = evidence.probed("template")
    leaks = [row for row in evidence.rows if row.reply and any(mark in row.reply for mark in SPECIAL_TOKENS)]
    form, play = evidence.symptoms.form, evidence.symptoms.play
    signs = [why] if state == "supported" else []
    if leaks:
        signs.append(f"special tokens show in {len(leaks)} replies")
    if signs and evidence.words_differ:
        signs.append("the words differ")
    if form is not None and play is not None and form < -STEADY and abs(play) < STEADY:
        signs.append("forms break and play is steady")
    if len(signs) >= 2:
        return "supported", " and ".join(signs)
    if signs and not (state == "refuted" and evidence.probed("words")[0] == "refuted"):
        return "consistent", signs[0]
    return state, why


def _routing(evidence: _Evidence) -> tuple[State, str]:
    """By what answers admit; else by greedy replies that come back and are not the usual ones."""
    admitted, why = evidence.probed("one server")
    if admitted == "supported":
        return admitted, why
    if evidence.probed("temperature")[0] == "supported":
        return "untested", "where temperature 0 is not served, replies cannot show how many models give them"
    return evidence.probed("one model")


def _forms(evidence: _Evidence, earlier: Sequence[CauseFinding]) -> CauseFinding:
    """Believed where forms break and nothing else does: no probe can see it, for probes ask for no form."""
    form, play = evidence.symptoms.form, evidence.symptoms.play
    if form is None or play is None:
        return CauseFinding(cause=_FORMS, state="untested", why="no games were compared")
    if form > -STEADY:
        return CauseFinding(
            cause=_FORMS, state="refuted", why=f"forms are kept as at the reference ({form:+.1f} points)"
        )
    seen = f"forms break ({form:+.1f} points)"
    if abs(play) >= max(STEADY, abs(form) / 2):
        return CauseFinding(cause=_FORMS, state="consistent", why=f"{seen}, but so does play ({play:+.1f})")
    standing = [one.cause for one in earlier if one.cause not in _KEEP_FORMS and one.state != "refuted"]
    if standing:
        return CauseFinding(
            cause=_FORMS, state="consistent", why=f"{seen}, but so they would by: {', '.join(standing)}"
        )
    why = f"{seen} while play is steady ({play:+.1f}), and whatever is asked outside of games is answered as at the reference"
    return CauseFinding(cause=_FORMS, state="supported", why=why)


_WORDS = "another model, weights, quantisation or numerics"
_FORMS = "replies broken in form"

_CAUSES: tuple[tuple[str, Callable[[_Evidence], tuple[State, str]]], ...] = (
    ("provider trouble", _trouble),
    ("max tokens ignored", _by_probe("max tokens")),
    ("a cap on output", _by_probe("output cap")),
    ("stop ignored", _by_probe("stop")),
    ("context cut", _by_probe("context")),
    ("a prompt of its own", _by_probe("prompt")),
    ("another chat template", _template),
    ("temperature not served", _by_probe("temperature")),
    ("seed ignored", _by_probe("seed")),
    ("letters changed", _by_probe("letters")),
    ("several models behind one name", _routing),
)

# Those that leave the form of a short reply as it is.
_KEEP_FORMS = frozenset({"provider trouble", "max tokens ignored", "seed ignored"})

# Those that leave the words of a short greedy reply as they are; whether they are refuted says nothing about weights.
_LEAVE_WORDS = frozenset(
    {"provider trouble", "max tokens ignored", "a cap on output", "stop ignored", "seed ignored", _FORMS}
)


def _weights(evidence: _Evidence, earlier: Sequence[CauseFinding]) -> CauseFinding:
    """Believed last: words differ, and nothing that could have changed them is left standing."""
    differ = evidence.words_differ
    sentence = evidence.probed("words")[1]
    if differ is None:
        return CauseFinding(cause=_WORDS, state="untested", why=sentence)
    if not differ:
        return CauseFinding(cause=_WORDS, state="refuted", why=sentence)
    standing = [one.cause for one in earlier if one.cause not in _LEAVE_WORDS and one.state != "refuted"]
    if standing:
        return CauseFinding(
            cause=_WORDS, state="consistent", why=f"words differ, but so they would by: {', '.join(standing)}"
        )
    return CauseFinding(
        cause=_WORDS, state="supported", why=f"{sentence}, and every other cause of that is refuted"
    )
