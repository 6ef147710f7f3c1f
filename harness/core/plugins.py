"""Parts that other installed packages add: games and providers, by entry points.

Looking for them reads the metadata of every installed package, which takes a tenth of a second; it is done
once, and only when a name is not known otherwise, or when all names are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.core.errors import SpecError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GAMES, PROVIDERS = "lightbulb.games", "lightbulb.providers"

T = TypeVar("T")


class WithPlugins(Mapping[str, T], Generic[T]):
    """Our own parts, and those of plug-ins under the names of their entry points.

    own    our own, by name; they come first
    group  of the entry points
    kind   the class that each part has"""

    def __init__(self, own: Mapping[str, T], *, group: str, kind: type[T]) -> None:
        self.own = own
        self._group = group
        self._kind = kind
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name in self.own:
            return self.own[name]
        if name not in self._loaded:
            self._loaded[name] = _load(self._entries[name], self._kind)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._entries

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from self._entries

    def __len__(self) -> int:
        return len(self.own) + len(self._entries)

    @cached_property
    def _entries(self) -> dict[str, EntryPoint]:
        return {name: entry for name, entry in _entry_points(self._group).items() if name not in self.own}


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    """Returns the entry points of a group by name.

    raises  SpecError if two packages use one name"""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, entry.value)):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise SpecError(
                f"two installed packages give {entry.name!r} in {group}: {_package(other)} and "
                f"{_package(entry)}; remove one of them"
            )
    return found


def _load(entry: EntryPoint, kind: type[T]) -> T:
    """Imports a part.

    raises  SpecError if it cannot be imported, or is something else"""
    try:
        part = entry.load()
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"{entry.name!r} of the package {_package(entry)} cannot be imported: {error}; mend or remove it"
        ) from error
    if not isinstance(part, kind):
        raise SpecError(
            f"{entry.name!r} of the package {_package(entry)} is a {type(part).__name__} and should be a "
            f"{kind.__name__}; {entry.value} is what its entry point names"
        )
    return part


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
