"""Loads that can be started on a machine to see its scheduler at work.

Each runs as ordinary tasks (SCHED_OTHER, nice 0) in processes of its own, and measures itself in one page of shared
memory, so that nothing it does waits for whoever reads it.
"""

from __future__ import annotations

KINDS: dict[str, str] = {
    "hogs": "Background hogs: a busy loop for each CPU and one more",
    "frames": "A game-like loop: work for a quarter of each 16.7 ms frame, and count the late ones",
    "forks": "A build-like storm: short processes, as many at once as a parallel build",
}
