"""Reading a template folder: what may be edited, what is locked, how it is run.

A template is any folder with an `experiment.py` that keeps the contract
`python experiment.py --out_dir=run_i` -> `run_i/final_info.json`. `template.toml` is optional; without
one, `experiment.py`, `plot.py` and `notes.txt` are editable where they exist, and the rest is locked.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent_runner.errors import TemplateError
from agent_runner.records import Template

DEFAULT_EDITABLE = ("experiment.py", "plot.py", "notes.txt")
SETTINGS_FILE = "template.toml"
MAX_FILES = 2_000
MAX_BYTES = 256 * 1024 * 1024

# Never part of a template: results of earlier runs, caches, version control.
_SKIPPED_FOLDERS = {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def default_folder() -> Path:
    """The SAE template that comes with this package (in a checkout, or inside the installed wheel)."""
    packaged = Path(__file__).parent / "_data" / "templates"
    checkout = Path(__file__).parent.parent / "templates"
    return checkout if (checkout / "experiment.py").is_file() else packaged


def load_template(folder: Path) -> Template:
    """Read and check a template folder.

    Raises:
        TemplateError: no `experiment.py`, or a `template.toml` that cannot be understood; the message
            names the field.
    """
    if not (folder / "experiment.py").is_file():
        raise TemplateError(
            f"{folder} is not a template: it has no experiment.py",
            "Give a folder whose experiment.py runs as `python experiment.py --out_dir=run_0` and "
            "writes run_0/final_info.json, or `default` for the built-in SAE template.",
        )
    fields = _read_settings(folder / SETTINGS_FILE)
    fields.setdefault("name", folder.resolve().name)
    fields.setdefault("editable", [n for n in DEFAULT_EDITABLE if (folder / n).is_file()])
    _complete_smoke(fields)
    try:
        template = Template.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise TemplateError(
            f"{folder / SETTINGS_FILE} is not valid: {problems}", "Correct the named fields."
        ) from error
    _check_editable(folder, template)
    return template


def _complete_smoke(fields: dict[str, Any]) -> None:
    """A `[smoke]` table may leave out its command (then it is the main one) and nest its limits."""
    smoke = fields.get("smoke")
    if isinstance(smoke, dict):
        default = Template.model_fields["command"].default
        smoke.setdefault("command", fields.get("command", default))
        limits = smoke.get("limits")
        if isinstance(limits, dict) and "time_s" in limits:
            smoke.setdefault("time_s", limits["time_s"])


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path} is not valid TOML: {error}", "Correct the file.") from error


def _check_editable(folder: Path, template: Template) -> None:
    for name in template.editable:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or not (folder / path).is_file():
            raise TemplateError(
                f"template {template.name}: editable file {name!r} is not a file inside the folder",
                "List only files that exist, by their path relative to the template.",
            )
    if "{out_dir}" not in template.command:
        raise TemplateError(
            f"template {template.name}: the command {template.command!r} has no {{out_dir}}",
            "Use for instance: python experiment.py --out_dir={out_dir}",
        )


def template_files(folder: Path) -> list[str]:
    """Relative paths of the regular files that make up a template, sorted.

    Links are left out: what they point at may lie outside. `run_*` folders are results, not template.

    Raises:
        TemplateError: the folder is larger than a template should be.
    """
    names: list[str] = []
    total = 0
    for base, folders, files in os.walk(folder):
        at_root = Path(base) == folder
        folders[:] = sorted(
            d for d in folders if d not in _SKIPPED_FOLDERS and not (at_root and _is_run_folder(d))
        )
        for name in files:
            path = Path(base) / name
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or name.endswith(".pyc") or name == ".git":
                continue
            names.append(path.relative_to(folder).as_posix())
            total += status.st_size
    if len(names) > MAX_FILES or total > MAX_BYTES:
        raise TemplateError(
            f"{folder} holds {len(names)} files, {total / 1e6:.0f} MB: too large for a template",
            f"A template has at most {MAX_FILES} files and {MAX_BYTES / 1e6:.0f} MB; keep data sets "
            "outside and read them by an absolute path.",
        )
    return sorted(names)


def _is_run_folder(name: str) -> bool:
    return name == "runs" or (name.startswith("run_") and name[4:].isdigit())
