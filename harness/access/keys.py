"""Reads keys from the environment, or from a .env file beside the sweep; the environment wins.

Keeps: the values go to backends and nowhere else; no message shows one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from dotenv import dotenv_values

from harness.config.load import Key, method_place, spec_error
from harness.config.sweep import SweepSpec
from harness.core.errors import SpecError


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
        try:
            return dotenv_values(self._file, interpolate=False)
        except UnicodeDecodeError as error:
            raise SpecError(
                f"{self._file}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
            ) from error
        except OSError as error:
            raise SpecError(f"{self._file}: cannot be read ({error.strerror})") from error


def read_keys(spec: SweepSpec, *, source: Path, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Returns method -> the value of its key, None for methods that need none.

    source  the sweep file: the .env file is beside it, and errors name it
    raises  SpecError naming every variable that is missing or cannot be a key"""
    file = source.parent / ".env"
    known = Variables(environ, file)
    keys: dict[str, str | None] = {}
    problems: list[tuple[Key, str]] = []
    for name, (_, method) in spec.methods().items():
        variable = method.key_env
        key = (known.get(variable) or "").strip() if variable else None
        place = method_place(name, "key_env")
        if variable and not key:
            problems.append(
                (place, f"the environment variable {variable} is not set; export it, or write it into {file}")
            )
        elif key and not (key.isascii() and key.isprintable()):
            problems.append((place, f"{variable} holds a character that no key has; set it again"))
        keys[name] = key
    if problems:
        raise spec_error(source, problems)
    return keys
