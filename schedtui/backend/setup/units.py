"""What systemd and polkit are told: how the helper and the verifier are started, and what is taken from them before.

Each hardening option that is left out is named in the unit, with its reason; docs/HOST.md has the same list.
"""

from __future__ import annotations

from collections.abc import Iterable

from schedtui.backend.setup.targets import UNITS, USER

HOME = "/usr/local/lib/schedtui/current"

LEFT_OUT_OF_THE_HELPER = (
    ("ProtectKernelTunables", "panic's last resort is a write to /proc/sysrq-trigger, which it makes read-only"),
    ("ProtectControlGroups", "external schedulers are killed through their control group, cgroup.kill"),
    ("ProtectKernelLogs", "why the kernel threw a scheduler out is read from /dev/kmsg"),
    ("PrivateDevices", "the hot key reads /dev/input; DeviceAllow opens that, /dev/kmsg and nothing more"),
    ("PrivateUsers", "BPF schedulers need the privileges of the computer's own user namespace"),
    ("ProtectProc, ProcSubset", "it names who waits and who loaded a scheduler, which is in /proc of every process"),
    ("MemoryDenyWriteExecute", "libbpf's messages come through ctypes callbacks, small functions made at run time"),
    ("RestrictRealtime", "it runs in the real-time class, so that a bad scheduler cannot starve it"),
    ("User, DynamicUser", "the kernel lets nobody but root load a scheduler and end any other"),
    ("MemoryMax, CPUQuota", "a limit that ends or starves the helper would end panic as well"),
    ("RootDirectory", "the interpreter and libbpf are the system's, kept new by its updates"),
)
LEFT_OUT_OF_THE_VERIFIER = (
    ("MemoryDenyWriteExecute", "QEMU without KVM translates the guest's code at run time"),
    ("PrivateDevices", "KVM; DeviceAllow opens /dev/kvm and nothing more"),
    ("ProcSubset", "QEMU and the verifier read /proc/cpuinfo and /proc/meminfo"),
    ("PrivateUsers", "the group that may open /dev/kvm would not be known in a user namespace of its own"),
    ("RootDirectory", "the interpreter, QEMU and clang are the system's, kept new by its updates"),
)

_COMMON = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateNetwork=yes
PrivateIPC=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelModules=yes
LockPersonality=yes
SystemCallArchitectures=native
KeyringMode=private
DevicePolicy=closed
"""


def unit_files(python: str, *, kvm: bool) -> dict[str, str]:
    """The units by name. ``python`` is the interpreter; ``kvm`` says that there is a group that may use /dev/kvm."""
    start = f"{python} -ISB {HOME}/launch.py"
    made = (_HELPER_SOCKET, _helper(start), _VERIFY_SOCKET, _verifier(start, kvm), _HELPER_PATH)
    return dict(zip(UNITS, made, strict=True))


_HELPER_SOCKET = """\
# schedtui setup wrote this, and schedtui setup --remove takes it away.
[Unit]
Description=schedtui: the socket of the helper that loads CPU schedulers
Documentation=man:sched(7)

[Socket]
ListenStream=/run/schedtui/helper.sock
# Anybody may connect; the helper asks the kernel who it is, and looks that up in /etc/schedtui/helper.toml.
SocketMode=0666
DirectoryMode=0755
Backlog=16

[Install]
WantedBy=sockets.target
"""

_HELPER_PATH = """\
# schedtui setup wrote this, and schedtui setup --remove takes it away.
[Unit]
Description=schedtui: starts the helper with the computer while the hot key is on

[Path]
PathExists=/var/lib/schedtui/hot-key

[Install]
WantedBy=sockets.target
"""

_VERIFY_SOCKET = """\
# schedtui setup wrote this, and schedtui setup --remove takes it away.
[Unit]
Description=schedtui: the socket of what verifies schedulers

[Socket]
ListenStream=/run/schedtui/verify.sock
# Only the helper connects.
SocketMode=0600
SocketUser=root
DirectoryMode=0755
Accept=yes
MaxConnections=2

[Install]
WantedBy=sockets.target
"""


def _helper(start: str) -> str:
    return f"""\
# schedtui setup wrote this, and schedtui setup --remove takes it away.
[Unit]
Description=schedtui: loads CPU schedulers that were proven on this kernel, and takes them away again
Requires=schedtui-helper.socket
After=schedtui-helper.socket schedtui-verify.socket

[Service]
Type=simple
# The image of the kernel that runs, for the verifying machine: where only root may read it, it is copied there.
ExecStartPre=-{start} kernel
ExecStart={start} helper
WorkingDirectory=/
Restart=on-failure
RestartSec=1
OOMScoreAdjust=-900
LimitMEMLOCK=infinity
LimitCORE=0
# External schedulers are started in a control group below this one, and die with it.
Delegate=yes
KillMode=control-group
TimeoutStopSec=10
StateDirectory=schedtui
StateDirectoryMode=0711
# In /run/scx external schedulers make the socket of their statistics.
RuntimeDirectory=schedtui scx
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
# “Make it permanent” writes the configuration of scx_loader or of scx.service, when there is one.
ReadWritePaths=-/etc/scx_loader -/etc/scx_loader.toml -/etc/default
UMask=0077
# What each is for, helper/rights.py says. Those for starting the verifier itself are not needed here.
CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_SYS_ADMIN CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_PTRACE CAP_SYSLOG
CapabilityBoundingSet=CAP_IPC_LOCK CAP_CHOWN
AmbientCapabilities=
DeviceAllow=char-input r
DeviceAllow=/dev/kmsg rw
SystemCallFilter=@system-service bpf perf_event_open
SystemCallErrorNumber=EPERM
{_COMMON}{_left_out(LEFT_OUT_OF_THE_HELPER)}"""


def _verifier(start: str, kvm: bool) -> str:
    group = "SupplementaryGroups=kvm\n" if kvm else ""
    return f"""\
# schedtui setup wrote this, and schedtui setup --remove takes it away.
[Unit]
Description=schedtui: proves one CPU scheduler in a virtual machine
CollectMode=inactive-or-failed

[Service]
ExecStart={start} verify
StandardInput=socket
StandardOutput=journal
StandardError=journal
User={USER}
Group={USER}
{group}WorkingDirectory=/
RuntimeMaxSec=1800
MemoryMax=4G
MemorySwapMax=0
TasksMax=256
LimitCORE=0
UMask=0077
ReadWritePaths=/var/lib/schedtui/verify
InaccessiblePaths=-/etc/schedtui
ProtectProc=invisible
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
RestrictRealtime=yes
RemoveIPC=yes
CapabilityBoundingSet=
AmbientCapabilities=
DeviceAllow=/dev/kvm rw
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=setrlimit prlimit64 sched_setaffinity sched_setscheduler setpriority
# setpriv, which has QEMU die with what started it, always asks for the capabilities that it has: none.
SystemCallFilter=capset
SystemCallErrorNumber=EPERM
{_COMMON}{_left_out(LEFT_OUT_OF_THE_VERIFIER)}"""


def _left_out(options: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"#   {name}: {why}\n" for name, why in options)
    return f"# Left out, each for a reason:\n{lines}"


def polkit_actions() -> str:
    """The question that the desktop asks: before the first load of a scheduler that is not of the helper's library."""
    return """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<!-- schedtui setup wrote this, and takes it away again. -->
<policyconfig>
  <vendor>schedtui</vendor>
  <action id="org.schedtui.load-generated">
    <description>Load a CPU scheduler that is not of schedtui's own library</description>
    <message>Authentication is required to run a CPU scheduler that a person or a model wrote</message>
    <icon_name>preferences-system</icon_name>
    <defaults>
      <allow_any>auth_admin</allow_any>
      <allow_inactive>auth_admin</allow_inactive>
      <allow_active>auth_admin</allow_active>
    </defaults>
  </action>
</policyconfig>
"""
