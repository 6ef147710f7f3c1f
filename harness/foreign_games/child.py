"""Plays games of one library for a parent process. Run as a script: `python -P -s child.py FILE`

Knows the standard library and FILE, clem_child.py or textarena_child.py, which imports the game library;
nothing of this program, which the environment does not contain. One line of JSON on standard input is one
request, one line on standard output one answer; what games print goes to standard error.
Keeps: each episode has its own state of Python's and numpy's global random generators, so that an episode
plays alone as it plays among others; the file `current` holds the number of the request that is being
answered; the process ends with its parent."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import logging
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any, Protocol

PR_SET_PDEATHSIG = 1  # linux/prctl.h
READ_BYTES = 1 << 20
FLUSH_S = 0.002  # answers wait at most so long for others, to leave in one write


class PlayedEpisode(Protocol):
    """An episode in this process. An answer is a dictionary: an ask or an end."""

    def begin(self) -> dict[str, Any]: ...
    def step(self, reply: str) -> dict[str, Any]: ...


class GameLibrary(Protocol):
    """A library of games, as clem_child.py and textarena_child.py offer it."""

    version: str

    def open(self, game: dict[str, Any], seed: int) -> PlayedEpisode: ...


class RandomStates:
    """The states of the global random generators, one for each episode."""

    def __init__(self) -> None:
        self._current: int | None = None
        self._states: dict[int, tuple[Any, Any]] = {}

    def begin(self, episode: int, seed: int) -> None:
        """Gives a new episode the state of this seed."""
        self._save()
        self._current = episode
        random.seed(seed)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed(seed % 2**32)

    def switch(self, episode: int) -> None:
        """Restores the state of this episode."""
        if episode == self._current:
            return
        self._save()
        self._current = episode
        own, numpys = self._states.pop(episode)
        random.setstate(own)
        if numpys is not None:
            sys.modules["numpy"].random.set_state(numpys)

    def forget(self, episode: int) -> None:
        self._states.pop(episode, None)
        if self._current == episode:
            self._current = None

    def _save(self) -> None:
        if self._current is not None:
            numpy = sys.modules.get("numpy")
            numpys = None if numpy is None else numpy.random.get_state()
            self._states[self._current] = (random.getstate(), numpys)


class Child:
    """Answers requests with the games of one library."""

    def __init__(self, library: GameLibrary) -> None:
        self._library = library
        self._episodes: dict[int, PlayedEpisode] = {}
        self._sent: dict[int, dict[str, list[list[str]]]] = {}
        self._chance = RandomStates()

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the answer; None if the request wants none."""
        episode = request["episode"]
        if request["do"] == "close":
            self._forget(episode)
            return None
        try:
            if request["do"] == "open":
                self._chance.begin(episode, request["seed"])
                self._sent[episode] = {}
                played = self._episodes[episode] = self._library.open(request["game"], request["seed"])
                answer = played.begin()
            else:
                self._chance.switch(episode)
                answer = self._episodes[episode].step(request["reply"])
        except Exception as error:
            self._forget(episode)
            return {"number": request["number"], "error": f"{type(error).__name__}: {error}"[:500]}
        if "end" in answer:
            self._forget(episode)
        else:
            self._shorten(self._sent[episode], answer)
        return {"number": request["number"], **answer}

    def _shorten(self, sent: dict[str, list[list[str]]], ask: dict[str, Any]) -> None:
        """Replaces the messages by the number of those that the seat's last ask had, and the new ones."""
        messages = ask.pop("messages")
        before = sent.get(ask["seat"], [])
        kept = 0
        while kept < min(len(before), len(messages)) and before[kept] == messages[kept]:
            kept += 1
        ask["kept"], ask["new"] = kept, messages[kept:]
        sent[ask["seat"]] = messages

    def _forget(self, episode: int) -> None:
        self._episodes.pop(episode, None)
        self._sent.pop(episode, None)
        self._chance.forget(episode)


def serve(child: Child, output: int, current: mmap.mmap) -> None:
    """Answers until standard input ends."""
    rest, answers = b"", list[bytes]()
    while chunk := os.read(0, READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        since_s = time.monotonic()
        for line in lines:
            request = json.loads(line)
            struct.pack_into("<q", current, 0, request.get("number", -1))
            answer = child.answer(request)
            if answer is not None:
                text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
                answers.append(text.encode("utf-8", "replace") + b"\n")  # games may cut a character in two
            if time.monotonic() - since_s > FLUSH_S:
                flush(output, answers)
                since_s = time.monotonic()
        flush(output, answers)


def flush(output: int, answers: list[bytes]) -> None:
    data = memoryview(b"".join(answers))
    answers.clear()
    while data:
        data = data[os.write(output, data) :]


def load(file: str) -> GameLibrary:
    """Imports the file. Its folder is not on the path, because games have modules of any name."""
    spec = importlib.util.spec_from_file_location(f"lightbulb_{Path(file).stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: GameLibrary = module.LIBRARY
    return made


def main() -> None:
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the parent
    output = os.dup(1)
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)  # libraries log every event
    with open("current", "w+b") as file:
        file.write(struct.pack("<q", -1))
        file.flush()
        current = mmap.mmap(file.fileno(), 8)
        library = load(sys.argv[1])
        flush(output, [json.dumps({"ready": library.version}).encode() + b"\n"])
        serve(Child(library), output, current)


if __name__ == "__main__":
    main()
