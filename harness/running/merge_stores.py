"""Joins the stores of one sweep that was played in parts: other access methods, or other repeats, of the same
items.

Keeps: stores whose rows do not belong into one audit are refused before anything is written: other margins or
seeds, other items of a game, one name for two access methods. The new store appears complete or not at all;
the sources are not changed. Merging again what the new store holds adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import orjson

from harness.core.errors import SpecError
from harness.core.vocabulary import game_of_item
from harness.running.locked_keys import changed_decisions, changed_methods, shown_value
from harness.store.file import open_to_read, open_to_write
from harness.store.merge import SourceEnd, merge_rows
from harness.store.reader import methods_of_models
from harness.store.resuming import stored_sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredSweep:
    """The sweep of a store, as its rows describe it.

    spec    the last one as JSON, with the access methods of all; None: the store has imports only
    items   game -> its planned items; None: an older lightbulb made the store, and it does not name them
    models  access method -> its model"""

    path: Path
    spec: Mapping[str, Any] | None
    items: Mapping[str, frozenset[str]] | None
    models: Mapping[str, str]


def merge_stores(
    sources: Sequence[Path], target: Path, *, notify: Callable[[str], None]
) -> tuple[SourceEnd, ...]:
    """Merges the sources into the target; a target that exists keeps its rows.

    notify   receives a line about what could not be compared, or an update of the target
    returns  what was taken from each source
    raises   SpecError if the stores do not belong together; StoreError"""
    held = [target] if target.exists() else []
    paths = list({path.resolve(): path for path in (*held, *sources)}.values())
    if len(paths) < 2:
        raise SpecError(f"{target}: name at least two stores to merge")
    sweeps = [_stored_sweep(path) for path in paths]
    for one, other in combinations(sweeps, 2):
        if problems := list(_differences(one, other)):
            raise SpecError(_refusal(one, other, problems))
    for sweep in sweeps:
        if sweep.spec is not None and sweep.items is None:
            notify(f"{sweep.path}: an older lightbulb made it, so its planned items are not compared")
    for path in held:
        with open_to_write(path, notify=notify) as connection:  # its write-ahead log must not outlive it
            connection.execute("CHECKPOINT")
    place = target.resolve()  # a link to a store on another disk stays a link
    draft = place.with_name(f"{place.name}.part")
    _delete(draft)
    try:
        ends = merge_rows(paths, draft)
        draft.rename(place)
    finally:
        _delete(draft)
    return ends[len(held) :]


def _delete(draft: Path) -> None:
    for path in (draft, draft.with_name(f"{draft.name}.wal")):
        path.unlink(missing_ok=True)


def _stored_sweep(path: Path) -> _StoredSweep:
    with open_to_read(path) as connection:
        sweeps = stored_sweeps(connection)
        models = {
            method: model for model, methods in methods_of_models(connection).items() for method in methods
        }
    played = [sweep for sweep in sweeps if "models" in orjson.loads(sweep.spec_json)]
    if not played:
        return _StoredSweep(path=path, spec=None, items={}, models=models)
    last = played[-1]
    return _StoredSweep(
        path=path,
        spec=orjson.loads(last.spec_json),
        items=_items(last.planned_json) if last.planned_json is not None else None,
        models=models,
    )


def _items(planned_json: str) -> dict[str, frozenset[str]]:
    items: dict[str, set[str]] = {}
    for block in orjson.loads(planned_json)["blocks"]:
        for item in block:
            items.setdefault(game_of_item(item), set()).add(item)
    return {game: frozenset(found) for game, found in items.items()}


def _differences(one: _StoredSweep, other: _StoredSweep) -> Iterator[str]:
    """Yields what keeps two stores from being one, in words."""
    a, b = one.path, other.path
    for method, model in other.models.items():
        if one.models.get(method, model) != model:
            yield f"{method} is an access method of {one.models[method]} in {a}, and of {model} in {b}"
    if one.spec is None or other.spec is None:
        return
    if one.spec["seed"] != other.spec["seed"]:
        yield f"seed is {one.spec['seed']} in {a}, and {other.spec['seed']} in {b}"
    changes = [change for change in changed_decisions(one.spec, other.spec) if change.key[-1] != "reference"]
    for key, before, value in (*changes, *changed_methods(one.spec, other.spec)):
        yield f"{'.'.join(map(str, key))} is {shown_value(before)} in {a}, and {shown_value(value)} in {b}"
    first, second = one.spec["audit"].get("reference"), other.spec["audit"].get("reference")
    if first is not None and second is not None and first != second:
        yield f"audit.reference is {first!r} in {a}, and {second!r} in {b}"
    if one.items is not None and other.items is not None:
        for game in sorted(
            one.items.keys() | other.items.keys()
        ):  # methods with other items are not comparable
            of_a, of_b = one.items.get(game, frozenset()), other.items.get(game, frozenset())
            if of_a != of_b:
                yield f"{len(of_a - of_b)} items of {game} are planned only in {a}, and {len(of_b - of_a)} only in {b}"


def _refusal(one: _StoredSweep, other: _StoredSweep, problems: Sequence[str]) -> str:
    return (
        f"{other.path}: cannot be merged with {one.path}, because they are not one sweep:"
        f" {'; '.join(problems)}. Audit them apart, or play one of them again with the values of the other"
    )
