"""Reads an instance's fields as the types that a game needs.

Knows no game. Keeps: a missing field or one of a wrong type is one SpecError that names the instance, the
field and the fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.core.errors import SpecError
from harness.core.vocabulary import Instance, storable

HALF_PAIR = "has half a surrogate pair, which is no text: no model can read it, and no store can hold it"


class Fields:
    """The fields of an instance, or of an object inside it, read by name.

    Each method raises SpecError where the field is missing or has another type."""

    def __init__(
        self, instance: Instance, inside: Mapping[str, object] | None = None, path: str = ""
    ) -> None:
        self._instance = instance
        self._values = instance.fields if inside is None else inside
        self._path = path

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def value(self, name: str) -> object:
        if name not in self._values:
            raise self.wrong(name, "is missing")
        return self._values[name]

    def text(self, name: str) -> str:
        value = self.value(name)
        if not isinstance(value, str):
            raise self.wrong(name, "is not a text")
        if value != storable(value):
            raise self.wrong(name, HALF_PAIR)
        return value

    def number(self, name: str, *, least: int | None = None) -> int:
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "is not a whole number")
        if least is not None and value < least:
            raise self.wrong(name, f"is {value}; it must be at least {least}")
        return value

    def flag(self, name: str) -> bool:
        value = self.value(name)
        if not isinstance(value, bool):
            raise self.wrong(name, "is neither true nor false")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.value(name)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise self.wrong(name, "is not a list of texts")
        if any(each != storable(each) for each in value):
            raise self.wrong(name, HALF_PAIR)
        return tuple(value)

    def within(self, name: str) -> Fields:
        """Returns the fields of the object under this name."""
        return Fields(self._instance, self.mapping(name), f"{self._path}{name}.")

    def mapping(self, name: str) -> Mapping[str, object]:
        value = self.value(name)
        if not isinstance(value, Mapping):
            raise self.wrong(name, "is not an object")
        return value

    def wrong(self, name: str, fault: str) -> SpecError:
        """Makes the error for a field; `fault` completes the sentence "field 'name' ..."."""
        instance = self._instance
        place = f"{instance.game}, instance {instance.id} of {instance.experiment} in {instance.set_name}"
        return SpecError(f"{place}: field {self._path + name!r} {fault}.")
