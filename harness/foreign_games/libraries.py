"""The libraries whose games can be played, and the environment of each.

An environment is named by the hash of what it installs and stands beside those of engines. It is made by
`lightbulb games install LIBRARY`; a sweep whose library is missing is refused with that command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.local.engine import EnvironmentKind
from backends.local.environments import engine_folder, read_entry
from harness.core.errors import SpecError
from harness.core.vocabulary import GAME_LIBRARIES

CLEM, TEXTARENA = GAME_LIBRARIES

LIBRARIES: Mapping[str, EnvironmentKind] = {
    CLEM: EnvironmentKind(
        name=CLEM,
        what="game library",
        shelf="games",
        packages=(
            "clemcore==3.7.2",
            # what games of clembench import besides; clembench's own pins conflict with this clemcore
            "clingo==5.8.3",
            "immutabledict==4.3.1",
            "imageio==2.38.1",
            "langdetect==1.0.9",
            "lark==1.1.9",
            "matplotlib==3.11.2",
            "networkx==3.6.1",
            "scikit-learn==1.9.1",
        ),
        unwanted=(),
        modules=("clemcore", "clemcore.clemgame", "clingo", "lark", "networkx", "sklearn"),
        python=((3, 11), (3, 12)),
        machines=("x86_64", "aarch64"),
        glibc=(2, 28),
        disk_gb=1.5,
        memory_gb=1.0,
        index_note="PyPI has it",
        distribution="clemcore",
    ),
    TEXTARENA: EnvironmentKind(
        name=TEXTARENA,
        what="game library",
        shelf="games",
        packages=("textarena==0.7.3", "chess==1.11.2", "nltk==3.10.4", "numpy==2.4.6"),
        unwanted=(),
        modules=("textarena",),
        python=((3, 11), (3, 13)),
        machines=("x86_64", "aarch64"),
        glibc=(2, 28),
        disk_gb=0.3,
        memory_gb=0.5,
        index_note="PyPI has it",
        distribution="textarena",
    ),
}


def release(library: str) -> str:
    """Returns the name and release of the library, which is the first of its packages."""
    return LIBRARIES[library].packages[0].replace("==", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class GameProgram:
    """The program of a library's processes.

    python  of the library's environment
    file    the part of child.py that imports the library"""

    python: Path
    file: Path


def program_of(library: str) -> GameProgram:
    """Returns the program of the library.

    raises  SpecError if it is not installed"""
    kind = LIBRARIES[library]
    if read_entry(engine_folder(kind)) is None:
        raise SpecError(
            f"the games of {library} are not installed; install them: lightbulb games install {library}"
        )
    return GameProgram(
        python=engine_folder(kind) / "bin" / "python", file=Path(__file__).with_name(f"{library}_child.py")
    )
