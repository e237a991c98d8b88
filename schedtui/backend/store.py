"""What schedtui remembers of this computer, in one SQLite file of the data directory: what policies did here.

A damaged file is moved aside and told, never a reason to fail. What the outcomes mean is library/history.py's.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BadFile
from schedtui.backend.model import Setting
from schedtui.paths import data_dir

VERSION = 1
_BUSY_S = 2.0
_SCHEMA = """
CREATE TABLE outcome (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    policy TEXT NOT NULL,
    preset TEXT NOT NULL,
    settings TEXT NOT NULL,
    machine TEXT NOT NULL,
    kernel TEXT NOT NULL,
    cpus INTEGER NOT NULL,
    workload TEXT NOT NULL,
    metric TEXT NOT NULL,
    better TEXT NOT NULL,
    before REAL NOT NULL,
    after REAL NOT NULL,
    low_percent REAL,
    high_percent REAL,
    how TEXT NOT NULL,
    seconds REAL NOT NULL
);
CREATE INDEX outcome_of_policy ON outcome (policy, time);
"""


class Outcome(Struct, frozen=True, kw_only=True):
    """One metric before and after a policy took over."""

    policy: str
    metric: str
    """``wakeup_p99_us``, ``makespan_s``, …: the unit is its end."""
    before: float
    """Under the kernel's own scheduler."""
    after: float
    better: Literal["lower", "higher"] = "lower"
    low_percent: float | None = None
    """The change's 95 % interval, in per cent of ``before``; None when it was not measured often enough."""
    high_percent: float | None = None
    how: Literal["observed", "tested"] = "observed"
    """Seen while the policy ran, whatever else changed meanwhile; or compared under the same load, repeatedly."""
    preset: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    machine: str = "host"
    """``host`` or ``lab``."""
    kernel: str = ""
    cpus: int = 0
    workload: str = ""
    """A workload class, or the lab's loads; empty when unknown."""
    seconds: float = 0.0
    """How long was looked at, after the change."""
    time: float = field(default_factory=time.time)
    """Unix time."""

    @property
    def change_percent(self) -> float:
        """From before to after; negative when the metric fell."""
        return 100.0 * (self.after - self.before) / self.before if self.before else 0.0


class Store:
    """The file, opened when first needed. Its methods may be called from any thread, each for itself."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / "history.sqlite"
        self.notes: list[str] = []
        """What a person should know of the file: that it was damaged, and where it lies now."""

    def add_outcome(self, outcome: Outcome) -> None:
        """Keep it. Raises BadFile when it cannot be written (a full disk, a folder that may not be written)."""
        row = {**msgspec.structs.asdict(outcome), "settings": msgspec.json.encode(outcome.settings).decode()}
        names = ", ".join(row)
        values = ", ".join(f":{name}" for name in row)
        with self._opened() as connection:
            connection.execute(f"INSERT INTO outcome ({names}) VALUES ({values})", row)

    def outcomes(self, policy: str | None = None, limit: int = 1000) -> list[Outcome]:
        """Those of a policy, or of all, newest first; none when nothing was kept yet. Raises BadFile."""
        try:
            self.path.stat()
        except OSError:  # nothing was kept yet, or nothing can be
            return []
        where = "WHERE policy = :policy " if policy is not None else ""
        query = f"SELECT * FROM outcome {where}ORDER BY time DESC, id DESC LIMIT :limit"
        with self._opened() as connection:
            return [_outcome_of(row) for row in connection.execute(query, {"policy": policy, "limit": limit})]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection, with everything done in it kept at the end or not at all."""
        try:
            connection = self._connect()
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise BadFile(f"The history in {self.path} cannot be used: {error}.", _remedy(error)) from error

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._sound_connection()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # busy, full, not permitted: the file is sound
                raise
            self._move_aside(error)
            return self._sound_connection()

    def _sound_connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found == 0:
                self._create(connection)
            elif found > VERSION:
                raise BadFile(
                    f"{self.path} was written by a newer schedtui.", "Update schedtui, or move the file away."
                )
            elif _columns(connection) != set(Outcome.__struct_fields__) | {"id"}:
                raise sqlite3.DatabaseError("its table is not as it should be")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self, connection: sqlite3.Connection) -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:  # nobody else was faster
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    def _move_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        self.path.replace(aside)
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        self.notes.append(f"The history was damaged ({error}); it begins anew, and the old file is {aside}.")


def _columns(connection: sqlite3.Connection) -> set[str]:
    return {row["name"] for row in connection.execute("PRAGMA table_info(outcome)")}


def _outcome_of(row: sqlite3.Row) -> Outcome:
    values: dict[str, Any] = {name: row[name] for name in Outcome.__struct_fields__}
    try:
        values["settings"] = msgspec.json.decode(values["settings"])
        return msgspec.convert(values, Outcome)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise sqlite3.DatabaseError(f"row {row['id']} is damaged: {error}") from error


def _remedy(error: Exception) -> str:
    if "full" in str(error):
        return "Free some space on that disk; nothing else is affected."
    return "Everything else works without it; delete the file to begin anew."
