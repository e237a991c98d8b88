"""schedtui: command of the Linux CPU scheduler, from a terminal."""

__version__ = "0.1.0"
