"""Every path that setup writes, in one place; all of them under one root, so that a test can have its own."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

USER = "schedtui-verify"
"""Whom the verifying runs as: nobody else is this user, and it owns the verifying machine's files alone."""
UNITS = ("schedtui-helper.socket", "schedtui-helper.service", "schedtui-verify.socket", "schedtui-verify@.service")
SOCKETS = ("schedtui-helper.socket", "schedtui-verify.socket")
ACTIONS = "org.schedtui.policy"
"""Name of the file that names polkit's actions."""


class Targets(Struct, frozen=True):
    """Where setup puts things. ``root`` is ``/`` but in tests; what a unit is told never has it in front."""

    root: Path = Path("/")
    home_folder: str = "/usr/local/lib/schedtui"
    state_folder: str = "/var/lib/schedtui"

    def under(self, path: str) -> Path:
        """A path of the installed system, as it is reached from here."""
        return self.root / path.lstrip("/")

    @property
    def home(self) -> Path:
        """The copy that only root can write: a folder for each version, and ``current``, which leads to one."""
        return self.under(self.home_folder)

    @property
    def current(self) -> Path:
        """The version that units start."""
        return self.home / "current"

    @property
    def unfinished(self) -> Path:
        """There while a setup is under way: one that was killed leaves it."""
        return self.home / "unfinished"

    @property
    def config(self) -> Path:
        """Who may use the helper."""
        return self.under("/etc/schedtui/helper.toml")

    @property
    def state(self) -> Path:
        """The key, tokens, and the verifying machine."""
        return self.under(self.state_folder)

    @property
    def tokens(self) -> Path:
        """For root alone."""
        return self.state / "tokens"

    @property
    def lab(self) -> Path:
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
    def run(self) -> Path:
        """Sockets, and the latch of a panic."""
        return self.under("/run/schedtui")

    @property
    def socket(self) -> Path:
        """Where the helper is reached."""
        return self.run / "helper.sock"

    @property
    def units(self) -> Path:
        """systemd's folder for what an administrator adds."""
        return self.under("/etc/systemd/system")

    @property
    def wanted(self) -> Path:
        """The sockets that systemd listens at from the start of the computer on."""
        return self.units / "sockets.target.wants"

    @property
    def actions(self) -> tuple[Path, Path]:
        """polkit's folders of actions: the usual one, and that of newer versions where /usr cannot be written."""
        return self.under("/usr/share/polkit-1/actions"), self.under("/etc/polkit-1/actions")
