"""placeholder until the reader lands"""

from pathlib import Path

from harness.core.vocabulary import Instance


def read_instances(root: Path, game: str) -> tuple[Instance, ...]:
    raise OSError(root)
