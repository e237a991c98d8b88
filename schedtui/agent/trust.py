"""What a mind may do without asking a person: earned step by step, kept for each mind by its name, lost by reverts.

Whether a policy is verified and its settings are in range is not a matter of trust: the deployer and the helper hold
that against whoever asks. How a person is asked is the engine's business.
"""

from __future__ import annotations

from enum import IntEnum


class TrustLevel(IntEnum):
    """How far a mind may go by itself; each level includes those below."""

    PROPOSE = 0
    """Only propose: a person decides each time."""
    TUNE = 1
    """Change settings of the policy that runs, within 20 % of their defaults."""
    LIBRARY = 2
    """Run any verified policy of the library, with any settings that are in range."""
    GENERATED = 3
    """Run a verified policy that a model wrote or changed."""
