"""Reads an instance's fields as the types a game wants.

Keeps: a missing or misshapen field is one SpecError that names the instance, the field and what was wrong. Knows no game."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from harness.core.errors import SpecError
from harness.core.vocabulary import Instance


class Fields:
    """The fields of one instance, or of one object inside it, read by name."""

    def __init__(self, instance: Instance, inside: Mapping[str, object] | None = None, path: str = "") -> None:
        self._instance = instance
        self._values = instance.fields if inside is None else inside
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def value(self, name: str) -> object:
        try:
            return self._values[name]
        except KeyError:
            self.wrong(name, "is missing")

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str):
            self.wrong(name, "is not a text")
        return value

    def number(self, name: str) -> int:
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(name, "is not a whole number")
        return value

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            self.wrong(name, "is neither true nor false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.value(name)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            self.wrong(name, "is not a list of texts")
        return tuple(value)

    def within(self, name: str) -> Fields:
        """The fields of the object under this name."""
        return Fields(self._instance, self.mapping(name), f"{self._path}{name}.")

    def mapping(self, name: str) -> Mapping[str, object]:
        value = self.value(name)
        if not isinstance(value, Mapping):
            self.wrong(name, "is not an object")
        return value

    def wrong(self, name: str, what: str) -> NoReturn:
        puzzle = self._instance
        raise SpecError(
            f"{puzzle.game}, instance {puzzle.id} of {puzzle.experiment} in {puzzle.set_name}: field {self._path + name!r} {what}."
        )
