"""Makes Python environments for other people's programs that a bench runs: gateways, SDKs.

An environment is made once, in the user's cache beside those of the engines, under a name that contains its
packages and the Python that made it. pip reads the user's own configuration."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from backends.local.child_environ import pip_environ
from backends.local.environments import exclusive_lock
from backends.local.machine import cache_folder
from harness.core.vocabulary import digest

COMPLETE = "complete"  # written last: a folder without it is incomplete


def environment(name: str, packages: Sequence[str]) -> Path:
    """Returns the Python of an environment with these packages; makes it if it is missing.

    raises  subprocess.CalledProcessError if pip fails; its output is on the terminal"""
    unique = digest(*packages, platform.python_version(), bytes_of_digest=6)
    folder = cache_folder() / "bench" / f"{name}-{unique}"
    python = folder / "bin" / "python"
    with exclusive_lock(folder, print):
        if not (folder / COMPLETE).exists():
            print(f"installing {', '.join(packages)} into {folder}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--no-compile", *packages],
                check=True,
                env=pip_environ(os.environ),
            )
            (folder / COMPLETE).touch()
    return python
