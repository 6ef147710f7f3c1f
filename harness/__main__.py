"""python -m harness: the command `lightbulb`."""

from harness.cli import main

main()
