"""The stages of an act with their times, and how it ended. Draws an Act; starts nothing."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from schedtui.act import Act, Stage


class StageList(Static):
    """One line a stage: what is done, what is under way, and for how long."""

    def show(self, act: Act) -> None:
        """Draw ``act`` as it is now."""
        self.update(stage_lines(act))


def stage_lines(act: Act) -> Content:
    """The act in lines: a sign and a word for each stage's state, so that colour is never the only sign."""
    lines = [Content.styled(act.title, "bold"), Content(""), stages_so_far(act)]
    if act.state == "done":
        lines += [Content(""), Content.styled(act.result, "bold $text-success")]
    elif act.state == "cancelled":
        lines += [Content(""), Content.styled("Cancelled. Nothing of it is left.", "$text-warning")]
    elif act.error is not None:
        lines += [Content(""), error_lines(act.error.message, act.error.remedy, act.error.details)]
    return Content("\n").join(lines)


def stages_so_far(act: Act) -> Content:
    """Only the stages."""
    return Content("\n").join(_stage(stage, act) for stage in act.stages)


def error_lines(message: str, remedy: str, details: str) -> Content:
    """An error as a person reads it: what happened, what to do, and the technical lines last."""
    lines = [Content.styled(message, "bold $text-error")]
    if remedy:
        lines += [Content(""), Content.assemble(("What to do: ", "bold"), remedy)]
    if details:
        lines += [
            Content(""),
            Content.styled("Details", "bold $foreground 65%"),
            Content.styled(details, "$foreground 65%"),
        ]
    return Content("\n").join(lines)


def _stage(stage: Stage, act: Act) -> Content:
    sign, style = "done", "$text-success"
    if stage is act.stages[-1] and act.state != "done":
        sign, style = {
            "running": ("now ", "bold $text-accent"),
            "failed": ("fail", "bold $text-error"),
            "cancelled": ("stop", "bold $text-warning"),
        }[act.state]
    seconds = (act.elapsed_s() if stage.ended_s is None else stage.ended_s) - stage.began_s
    return Content.assemble((f" {sign}  ", style), stage.text, (f"  {seconds:.1f} s", "$foreground 65%"))
