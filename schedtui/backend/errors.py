"""Every error a user can meet: what happened, and what to do next. Caught once, at the edge (cli, app, server)."""

from __future__ import annotations


class SchedtuiError(Exception):
    """A failure with a sentence for the user and a remedy.

    ``details`` holds further lines (a compiler's message, a verifier's lines); it may be empty.
    """

    kind = "error"

    def __init__(self, message: str, remedy: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        return self.message


class MissingTool(SchedtuiError):
    """A program or library that this act needs is not installed, or is too old."""

    kind = "missing-tool"


class KernelUnsuitable(SchedtuiError):
    """The kernel (or kernel image) cannot run sched_ext schedulers."""

    kind = "kernel-unsuitable"


class LabFailed(SchedtuiError):
    """The micro-VM could not be built, booted, restored or reached."""

    kind = "lab-failed"


class NotPermitted(SchedtuiError):
    """This machine can be watched, but not changed, from here."""

    kind = "not-permitted"


class UnknownName(SchedtuiError):
    """A preset, policy, workload, machine or theme that does not exist."""

    kind = "unknown-name"


class BadTunable(SchedtuiError):
    """A tunable that the policy does not have, or a value outside its range."""

    kind = "bad-tunable"


class BadFile(SchedtuiError):
    """A file that is damaged or not what it should be: a recording, a theme, a policy.toml, an object."""

    kind = "bad-file"


class CompileFailed(SchedtuiError):
    """clang rejected a policy's source; ``details`` holds its lines."""

    kind = "compile-failed"


class LoadRejected(SchedtuiError):
    """The kernel refused a policy; ``details`` holds the verifier's decisive lines."""

    kind = "load-rejected"


class PanicLatched(SchedtuiError):
    """Panic was pressed; nothing is loaded until a person releases it."""

    kind = "panic-latched"


class NotProven(SchedtuiError):
    """Nothing shows that the helper's own verification passed exactly this, here: it is not loaded."""

    kind = "not-proven"


class LeaseEnded(SchedtuiError):
    """What was loaded under a lease was taken away again, or was never loaded: there is nothing to keep."""

    kind = "lease-ended"


class Interrupted(SchedtuiError):
    """The act was cut short by panic or by closing the machine."""

    kind = "interrupted"


class SetupFailed(SchedtuiError):
    """The helper could not be installed, started or removed; ``details`` holds what the system said."""

    kind = "setup-failed"


class ProbeFailed(SchedtuiError):
    """A deep dive was begun and has no result; ``details`` holds the compiler's lines."""

    kind = "probe-failed"


class HelperGone(SchedtuiError):
    """The privileged helper (in the lab: the guest's agent) no longer answers."""

    kind = "helper-gone"


class BadMessage(SchedtuiError):
    """A message that is too large, malformed, or from another version."""

    kind = "bad-message"


BY_KIND: dict[str, type[SchedtuiError]] = {
    each.kind: each
    for each in (
        SchedtuiError,
        MissingTool,
        KernelUnsuitable,
        LabFailed,
        NotPermitted,
        UnknownName,
        BadTunable,
        BadFile,
        CompileFailed,
        LoadRejected,
        PanicLatched,
        NotProven,
        LeaseEnded,
        Interrupted,
        SetupFailed,
        ProbeFailed,
        HelperGone,
        BadMessage,
    )
}
