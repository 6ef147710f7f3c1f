"""One episode as its seats got it, for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.core.records import Transcript, TranscriptTurn
from harness.report.text import escape_control


def print_transcript(transcript: Transcript, console: Console) -> None:
    """Prints every message once: a seat's new messages, then its reply and the violation of the format, if
    any."""

    def line(text: str, style: str = "") -> None:
        console.print(Text(escape_control(text), style=style), soft_wrap=True)

    def asked(number: int, turn: TranscriptTurn) -> None:
        line(f"\n── turn {number}: {turn.seat} · {turn.method}", "bold")
        for message in turn.added:
            if message.role != "assistant":  # its own earlier reply: shown in its turn
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
