"""What was kept last on a machine: whether it may run again as it is, and loading it again.

Exactly the same bytes with the same settings are loaded without another trial; the machine says whether its token still
holds. What changed since (a scheduler, a compiler, a kernel) is measured again before it is kept. Proving and
measuring are the deployer's.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from schedtui.backend.deploy import LEFT_BEHIND, Deployer, loadable
from schedtui.backend.errors import SchedtuiError, UnknownName
from schedtui.backend.library.catalogue import Library
from schedtui.backend.model import Deployment, Loadable, MachineInfo, MachineKind, Policy, digest_of
from schedtui.backend.store import Store


class Kept(Struct, frozen=True, kw_only=True):
    """What was kept last, beside what the library has of it now."""

    deployment: Deployment
    policy: Policy
    obj: Loadable
    changed: str
    """Why it must be measured again, in a sentence; empty when it is exactly what was kept."""


def last_kept(store: Store, machine: MachineKind) -> Deployment | None:
    """The deployment that ran last by somebody's wish, when nobody took it back."""
    for each in store.deployments(limit=100):
        if each.machine != machine or not each.digest:
            continue  # another machine's, or one that was never loaded
        left = each.state == "reverted" and each.reason.startswith(LEFT_BEHIND)
        return each if each.state == "kept" or left else None
    return None


def let_go(deployer: Deployer, store: Store, machine: MachineKind, reason: str) -> None:
    """A person gave the machine back by hand: what was kept last is not loaded again. Raises BadFile."""
    kept = last_kept(store, machine)
    if kept is not None and kept.state == "kept":
        deployer.revert(kept, reason, by="person")
    elif kept is not None:
        store.update_deployment(replace(kept, reason=reason))


def let_go_after_panic(deployer: Deployer, store: Store, machine: MachineKind, panicked: float) -> None:
    """As ``let_go``, when a panic came at that Unix time and nothing was kept since: the hot key tells no program."""
    kept = last_kept(store, machine)
    if kept is not None and kept.created < panicked:
        let_go(deployer, store, machine, "Panic was pressed while it ran.")


def find_kept(store: Store, library: Library, info: MachineInfo) -> Kept:
    """Raises UnknownName when nothing was kept here, or when the library has it no more; what ``loadable`` raises."""
    deployment = last_kept(store, info.kind)
    if deployment is None:
        raise UnknownName(
            "Nothing is kept on this machine, so there is nothing to load and to watch.",
            "Try a preset and keep it first: start schedtui, and press p.",
        )
    policy = library.policies.get(deployment.policy)
    if policy is None:
        raise UnknownName(
            f"{deployment.policy} was kept, and the library does not have it any more.", "See schedtui library."
        )
    policy = replace(policy, goal=deployment.goal)
    obj = loadable(policy, deployment.settings, info.kind)
    return Kept(deployment=deployment, policy=policy, obj=obj, changed=_what_changed(deployment, digest_of(obj), info))


def what_changed(store: Store, library: Library, info: MachineInfo) -> str:
    """Why what was kept last has to be measured again, in a sentence; empty when it has not, or cannot be told."""
    try:
        return find_kept(store, library, info).changed
    except SchedtuiError:
        return ""


def _what_changed(deployment: Deployment, digest: str, info: MachineInfo) -> str:
    if deployment.digest != digest:
        return f"{deployment.policy} was updated: it is measured again before it is kept."
    if deployment.kernel != info.kernel:
        return f"The kernel was updated to {info.kernel}: {deployment.policy} is measured again before it is kept."
    return ""
