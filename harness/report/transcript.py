"""One episode as its seats saw it, for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.core.records import Transcript, TranscriptTurn
from harness.report.text import escape_control


def print_transcript(transcript: Transcript, console: Console) -> None:
    """Every message once: what a seat newly saw, then its reply and, if the form was broken, how."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(escape_control(text), style=style), soft_wrap=True)

    def asked(number: int, turn: TranscriptTurn) -> None:
        line(f"\n── turn {number}: {turn.seat} · {turn.method}", "bold")
        for message in turn.added:
            if message.role != "assistant":  # its own earlier reply: shown where it was given
                line(f"[{message.role}]", "dim")
                line(message.text)

    line(transcript.key, "dim")
    for number, turn in enumerate(transcript.turns):
        asked(number, turn)
        line("[reply]", "dim")
        line(turn.reply, "green" if turn.violation is None else "red")
        if turn.violation is not None:
            line(f"! {turn.violation}", "red")
    if transcript.unanswered is not None:
        asked(len(transcript.turns), transcript.unanswered)
        line("[no reply]", "red")
    end = transcript.outcome or transcript.status
    line(
        f"\n{end}{'' if transcript.score is None else f', score {transcript.score:g}'}: {transcript.reason}",
        "bold",
    )
