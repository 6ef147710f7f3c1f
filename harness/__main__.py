"""Runs the command `lightbulb` as `python -m harness`."""

from harness.cli import main

main()
