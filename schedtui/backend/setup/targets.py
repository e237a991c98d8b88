"""What setup writes besides the helper's own places (helper/places.py): the copy, units, and polkit's actions."""

from __future__ import annotations

from pathlib import Path

from schedtui.backend.helper.places import Places

USER = "schedtui-verify"
"""Whom the verifying runs as: nobody else is this user, and it owns the verifying machine's files alone."""
UNITS = (
    *("schedtui-helper.socket", "schedtui-helper.service", "schedtui-verify.socket", "schedtui-verify@.service"),
    "schedtui-helper.path",
)
WATCHED = ("schedtui-helper.socket", "schedtui-verify.socket", "schedtui-helper.path")
"""What systemd looks at from the start of the computer on, to start the helper when it is needed."""
ACTIONS = "org.schedtui.policy"
"""Name of the file that names polkit's actions."""


class Targets(Places, frozen=True, kw_only=True):
    """Where setup puts things. ``root`` is ``/`` but in tests; what a unit is told never has it in front."""

    home_folder: str = "/usr/local/lib/schedtui"

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
    def units(self) -> Path:
        """systemd's folder for what an administrator adds."""
        return self.under("/etc/systemd/system")

    @property
    def wanted(self) -> Path:
        """WATCHED, as links."""
        return self.units / "sockets.target.wants"

    @property
    def actions(self) -> tuple[Path, Path]:
        """polkit's folders of actions: the usual one, and that of newer versions where /usr cannot be written."""
        return self.under("/usr/share/polkit-1/actions"), self.under("/etc/polkit-1/actions")
