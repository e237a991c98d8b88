"""What a report is worth on a kernel that may be another than it was made on. Also the helper asks: no imports but
msgspec's and the model's.
"""

from __future__ import annotations

from msgspec.structs import replace

from schedtui.backend.model import Finding, KernelId, Report, worst


def on_kernel(report: Report, own: KernelId) -> Report:
    """The report as it holds on a computer that runs ``own``: with a warning where it was made on another kernel."""
    if report.kernel is None or same_kernel(own, report.kernel):
        return report
    note = f"Proven on Linux {report.kernel.release}, not on this computer's {own.release}, which the lab cannot boot."
    finding = Finding(
        rule="not-this-kernel",
        severity="warning",
        place=own.release,
        meaning=note,
        remedy="Make this computer's kernel image readable, or give it with --kernels IMAGE.",
    )
    *before, last = report.stages
    last = replace(last, verdict=worst((last.verdict, "warn")), findings=(*last.findings, finding))
    return replace(report, stages=(*before, last), verdict=worst((report.verdict, "warn")), note=note)


def same_kernel(one: KernelId, other: KernelId) -> bool:
    """Whether they are one build with the same types, whatever they call themselves."""
    return (one.build_id, one.btf_hash) == (other.build_id, other.btf_hash)
