"""The W&B workspace of a project, made from the same list of plots as the report."""

from typing import Any

import wandb
from wandb_workspaces import workspaces
from wandb_workspaces.reports.v2.interface import LinePlot, WeavePanelSummaryTable

from recurray.platform.errors import UserError
from recurray.platform.tracking.figures import SECTIONS


def make_workspace(entity: str, project: str) -> workspaces.Workspace:
    """The workspace as an object, which needs no network."""
    sections = [
        workspaces.Section(
            name=name,
            panels=[LinePlot(title=plot.title, x="Step", y=list(plot.keys), title_y=plot.unit) for plot in plots],
            is_open=True,
        )
        for name, plots in SECTIONS.items()
    ]
    table = WeavePanelSummaryTable(table_name="samples")
    samples = workspaces.Section(name="Samples", panels=[table], is_open=True)
    return workspaces.Workspace(name="recurray", entity=entity, project=project, sections=[*sections, samples])


def describe(workspace: workspaces.Workspace) -> str:
    """The workspace's sections and panels in words."""
    lines = [f"workspace {workspace.name} of {workspace.entity}/{workspace.project}"]
    for section in workspace.sections:
        lines.append(f"  {section.name}")
        for panel in section.panels:
            if isinstance(panel, LinePlot):
                lines.append(f"    {panel.title} ({panel.title_y}): {', '.join(map(str, panel.y))} over {panel.x}")
            elif isinstance(panel, WeavePanelSummaryTable):
                lines.append(f"    table {panel.table_name}")
    return "\n".join(lines)


def apply_workspace(entity: str | None, project: str) -> str:
    """Saves the workspace in W&B and returns its address; UserError without a key, or where W&B refuses."""
    if not wandb.login(prompt=False, verify=False):
        raise UserError("there is no W&B key here; run `wandb login`, or set WANDB_API_KEY, and apply again.")
    try:
        owner = entity or wandb.Api().default_entity
        if owner is None:
            raise UserError("the W&B key has no default entity; name a user or team with --entity.")
        workspace: Any = make_workspace(owner, project)
        return str(workspace.save().url)
    except (wandb.Error, ValueError, ConnectionError) as fault:
        raise UserError(f"W&B did not take the workspace ({' '.join(str(fault).split())}).") from fault
