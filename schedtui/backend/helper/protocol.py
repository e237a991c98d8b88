"""What the helper and its clients say to each other: one JSON object a line, in both directions.

A client sends ``Request(id, body)``; the server answers each with exactly one ``Reply`` of the same id, in
any order (a panic overtakes a load). A subscribed client also gets replies with id 0: its Frames.
Imported by code that runs as root: the standard library and msgspec only.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from schedtui.backend.errors import BY_KIND, BadMessage, SchedtuiError
from schedtui.backend.model import Completed, Frame, MachineInfo, Panic, Sample, Scheduler, Setting

VERSION = 1
MAX_REQUEST_BYTES = 4 << 20
"""Longest line a server reads: an object of 3 MB in base64. Policies are about 20 KB."""
MAX_REPLY_BYTES = 16 << 20
"""Longest line a client reads."""


class Hello(Struct, frozen=True, tag="hello"):
    """First message. A guest takes its wall clock from ``unix_time_ns`` after a restore."""

    version: int
    unix_time_ns: int


class Subscribe(Struct, frozen=True, tag="subscribe"):
    """Send a Frame each ``interval_s`` (0.1 to 60), beginning now; 0 ends the stream."""

    interval_s: float


class GetScheduler(Struct, frozen=True, tag="scheduler"):
    """Read the scheduler from the kernel now."""


class TakeSample(Struct, frozen=True, tag="sample"):
    """Read the counters now."""


class Focus(Struct, frozen=True, tag="focus"):
    """Count the processes of these names, and their descendants, apart; none ends it."""

    names: tuple[str, ...]


class Load(Struct, frozen=True, tag="load"):
    """Load these bytes as a sched_ext scheduler."""

    name: str
    object: bytes
    settings: dict[str, Setting] = field(default_factory=dict)
    lease_s: float | None = None
    """Take it away again when no Renew came for so long (0.2 to 600), or the client goes away; None: it stays."""


class Renew(Struct, frozen=True, tag="renew"):
    """Whoever watches what was loaded under a lease is still there; from now on for ``lease_s``, when that is given."""

    lease_s: float | None = None


class Keep(Struct, frozen=True, tag="keep"):
    """What was loaded under a lease stays."""


class Tune(Struct, frozen=True, tag="tune"):
    """Change tunables of the policy that runs; only those that can be changed so."""

    settings: dict[str, Setting]


class Unload(Struct, frozen=True, tag="unload"):
    """Back to the kernel's own scheduler."""


class DoPanic(Struct, frozen=True, tag="panic"):
    """Back to the kernel's own scheduler now, and latch."""


class Unlatch(Struct, frozen=True, tag="unlatch"):
    """Allow loads again after a panic."""


class StartWorkload(Struct, frozen=True, tag="start-workload"):
    """Start one of ``workloads.KINDS``."""

    kind: str


class StopWorkloads(Struct, frozen=True, tag="stop-workloads"):
    """End them all."""


class Run(Struct, frozen=True, tag="run"):
    """Run a command to its end."""

    command: list[str]
    timeout_s: float


Body = (
    Hello
    | Subscribe
    | GetScheduler
    | TakeSample
    | Focus
    | Load
    | Renew
    | Keep
    | Tune
    | Unload
    | DoPanic
    | Unlatch
    | StartWorkload
    | StopWorkloads
    | Run
)


class Request(Struct, frozen=True):
    """One message of a client."""

    id: int
    body: Body


class Failure(Struct, frozen=True):
    """An error, so that the client can raise the same one."""

    kind: str
    message: str
    remedy: str = ""
    details: str = ""


class Reply(Struct, frozen=True, omit_defaults=True):
    """The answer to one request (same id), or a Frame of the stream (id 0). One field is set, or none for 'done'."""

    id: int
    failure: Failure | None = None
    info: MachineInfo | None = None
    scheduler: Scheduler | None = None
    panic: Panic | None = None
    completed: Completed | None = None
    sample: Sample | None = None
    frame: Frame | None = None


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encoder = msgspec.json.Encoder()
_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """The message as one line, newline included."""
    return _encoder.encode(message) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises BadMessage when the line is not a request of this version's schema."""
    try:
        return _requests.decode(line)
    except _UNREADABLE as error:
        raise BadMessage(f"Not a request that this helper understands: {error}") from error


def decode_reply(line: bytes) -> Reply:
    """Raises BadMessage when the line is not a reply of this version's schema."""
    try:
        return _replies.decode(line)
    except _UNREADABLE as error:
        raise BadMessage(f"Not a reply that this client understands: {error}") from error


def failure_of(error: SchedtuiError) -> Failure:
    """An error as it travels."""
    return Failure(error.kind, error.message, error.remedy, error.details)


def error_of(failure: Failure) -> SchedtuiError:
    """The error that travelled, as its own class."""
    return BY_KIND.get(failure.kind, SchedtuiError)(failure.message, failure.remedy, failure.details)
