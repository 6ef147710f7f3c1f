"""Reads keys and header values from the environment, or from a .env file beside the sweep; the environment
wins.

Keeps: the values go to backends and nowhere else; no message shows one."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dotenv import dotenv_values

from harness.config.problems import Key, method_place, spec_error
from harness.config.sweep import SweepSpec
from harness.core.user_files import MIB, read_text

# A header's value of the first form is a variable's name; one of the second form is, if the variable is set.
_VARIABLE = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]*")
_MAYBE_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class Variables:
    """The environment's variables, and those of a .env file where the environment has none, or an empty one.

    The file is read when it is first needed: what it holds is no concern of a sweep without keys."""

    def __init__(self, environ: Mapping[str, str], file: Path) -> None:
        self._environ = environ
        self._file = file

    def get(self, name: str) -> str | None:
        """Returns the variable's value.

        raises  SpecError if the file has to be read and cannot be"""
        return self._environ.get(name) or self._of_file.get(name)

    @cached_property
    def _of_file(self) -> Mapping[str, str | None]:
        if not (self._file.is_file() or self._file.is_fifo()):  # a folder .env is an environment of Python
            return {}
        text = read_text(self._file, bytes_max=MIB, remedy="put another file in its place")
        return dotenv_values(stream=io.StringIO(text), interpolate=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The secrets of one access method.

    key       None: it needs none
    headers   sent with every request
    secrets   the values of these headers that come from the environment"""

    key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


def read_keys(spec: SweepSpec, *, source: Path, environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Returns method -> its key and its headers.

    source  the sweep file: the .env file is beside it, and errors name it
    raises  SpecError naming every variable that is missing or cannot be a key"""
    file = source.parent / ".env"
    known = Variables(environ, file)
    keys: dict[str, Credentials] = {}
    problems: list[tuple[Key, str]] = []

    def value_of(variable: str, place: Key) -> str | None:
        value = (known.get(variable) or "").strip()
        if not value:
            unset = f"the environment variable {variable} is not set; export it, or write it into {file}"
            problems.append((place, unset))
        elif not (value.isascii() and value.isprintable()):
            problems.append((place, f"{variable} contains a character that no key can contain; set it again"))
        return value or None

    for name, (_, method) in spec.methods().items():
        key = value_of(method.key_env, method_place(name, "key_env")) if method.key_env else None
        headers = dict(method.headers)
        secrets = []
        for header, written in method.headers.items():
            if _VARIABLE.fullmatch(written) or (_MAYBE_VARIABLE.fullmatch(written) and known.get(written)):
                value = value_of(written, method_place(name, "headers", header)) or ""
                headers[header] = value
                secrets.append(value)
        keys[name] = Credentials(key=key, headers=headers, secrets=tuple(secrets))
    if problems:
        raise spec_error(source, problems)
    return keys
