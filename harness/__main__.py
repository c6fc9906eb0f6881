"""``python -m harness``, and the console script ``harness``."""

from harness.cli import signals


def main() -> None:
    """Run the command line. From here on, Ctrl-C is one line and exit code 130."""
    signals.begin()
    from harness.cli.main import main as run

    try:
        run()
    finally:
        signals.end_at_once()


if __name__ == "__main__":
    main()
