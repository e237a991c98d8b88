"""Where a host's helper keeps and finds things. All of them under one root, so that a test can have its own."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

PREPARED = "SCHEDTUI_PREPARED"
"""Set by whatever starts the helper: the verifying machine that root prepared; the state is the folder above."""


class Places(Struct, frozen=True, kw_only=True):
    """Only root can write any of these, or the folders above them."""

    root: Path = Path("/")
    state_folder: str = "/var/lib/schedtui"

    @classmethod
    def given(cls, root: Path = Path("/")) -> Places:
        """Those that the launcher's environment names, else the installed ones."""
        prepared = os.environ.get(PREPARED, "")
        return cls(root=root, state_folder=str(Path(prepared).parent)) if prepared.startswith("/") else cls(root=root)

    def under(self, path: str) -> Path:
        """A path of the installed system, as it is reached from here; the launcher's has the root in front already."""
        return Path(path) if Path(path).is_relative_to(self.root) else self.root / path.lstrip("/")

    @property
    def config(self) -> Path:
        """Who may use the helper: ``allow = [1000]``."""
        return self.under("/etc/schedtui/helper.toml")

    @property
    def state(self) -> Path:
        """Key, tokens, and what is to last."""
        return self.under(self.state_folder)

    @property
    def tokens(self) -> Path:
        """What was proven, for root alone."""
        return self.state / "tokens"

    @property
    def prepared(self) -> Path:
        """The verifying machine as root prepared it: kernel, guest image, snapshot. The verifier only reads it."""
        return self.state / "lab"

    @property
    def verify(self) -> Path:
        """What the verifier writes, and nobody trusts: logs, and snapshots for kernels that came later."""
        return self.state / "verify"

    @property
    def library(self) -> Path:
        """SHA-256 of the objects that the copy's own sources compile to here, and their policies' names, as JSON."""
        return self.state / "library.json"

    @property
    def objects(self) -> Path:
        """The probes, compiled from the copy's own sources: ``NAME.bpf.o``."""
        return self.state / "objects"

    @property
    def probe(self) -> Path:
        """The wake-up latency probe, compiled."""
        return self.objects / "wakeup_latency.bpf.o"

    @property
    def run(self) -> Path:
        """Sockets and the latch: gone with a restart of the computer."""
        return self.under("/run/schedtui")

    @property
    def socket(self) -> Path:
        """Where the helper is reached."""
        return self.run / "helper.sock"

    @property
    def verify_socket(self) -> Path:
        """Where systemd's verifier is reached."""
        return self.run / "verify.sock"

    @property
    def latch(self) -> Path:
        """There while panic is latched."""
        return self.run / "latch"

    @property
    def last_panic(self) -> Path:
        """When the newest panic was."""
        return self.state / "last-panic"

    @property
    def hot_key(self) -> Path:
        """There while the hot key is on."""
        return self.state / "hot-key"
