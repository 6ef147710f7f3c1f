"""Keys: from the environment, or from a .env file beside the sweep; the environment wins. Values go to backends and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

from harness.core.errors import SpecError
from harness.spec.sweep import SweepSpec


def read_keys(spec: SweepSpec, *, folder: Path, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Method name -> its key, None for methods that need none.

    raises  SpecError naming every variable that is missing"""
    known = {**dotenv_values(folder / ".env", interpolate=False), **environ}
    keys: dict[str, str | None] = {}
    missing = []
    for name, (model, method) in spec.methods().items():
        key = known.get(method.key_env) if method.key_env else None
        if method.key_env and not key:
            way = name.removeprefix(f"{model}/")
            missing.append(
                f"models.{model}.methods.{way}.key_env: the environment variable {method.key_env} is not set;"
                f" export it, or write it into {folder / '.env'}"
            )
        keys[name] = key
    if missing:
        raise SpecError("\n".join(missing))
    return keys
