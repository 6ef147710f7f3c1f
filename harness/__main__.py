"""Runs the command `lightbulb`: as the console script, and as `python -m harness`."""

from harness.core.startup import exit_on_interrupt


def main() -> None:
    """Runs the command with the arguments of the process."""
    exit_on_interrupt()
    from harness.cli import main as run  # its imports are what may be interrupted

    run()


if __name__ == "__main__":
    main()
