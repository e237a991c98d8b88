"""Where the ``schedtui`` command begins. Start-up time is a budget: without arguments, no command line is read."""

from __future__ import annotations

import sys


def main() -> int:
    """The console script; returns the exit code."""
    if len(sys.argv) == 1:
        from schedtui.launch import run_app

        return run_app("host")
    from schedtui import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
