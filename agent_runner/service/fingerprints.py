"""What has to be equal for two results to be compared."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from agent_runner import models
from agent_runner.execution.environment import interpreter_folders
from agent_runner.models.cached import look
from agent_runner.records import Idea
from agent_runner.service.workspace import Workspace


def fingerprint(workspace: Workspace, idea: Idea, granted: str) -> str:
    """Of a run that gets the model `granted` (empty: none): 16 hexadecimal digits.

    Over the template's files (with its data and evaluation settings), command and limits, the model and its
    revision, the kind of device, the interpreter and the packages that it finds.
    """
    gpus = workspace.desk.gpus if idea.template.resources.gpus else ()
    ingredients = {
        "tree": idea.base_tree,
        "command": idea.template.command,
        "limits": idea.template.limits.model_dump(),
        "model": granted,
        "revision": look(models.hub_cache(os.environ), "model", granted).revision
        if granted
        else None,
        "device": sorted({gpu.name for gpu in gpus}) or "cpu",
        "interpreter": str(workspace.jobs.interpreter),
        "packages": _packages(workspace.jobs.interpreter),
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:16]


def _packages(interpreter: Path) -> str:
    """A digest of the names and versions of what is installed: another torch computes other numbers."""
    folders = {
        site
        for prefix in interpreter_folders(interpreter)
        for site in prefix.glob("lib*/python3*/site-packages")
    }
    names = sorted(
        entry.name for site in folders for entry in os.scandir(site) if entry.name.endswith("-info")
    )
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
