"""What is wrong with this installation, and the command that mends it.

The experiment's interpreter may be another one than ours: it is asked in a subprocess which distributions
it has, and judged by a pure function.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from agent_runner.records import LevelReport, Record

Status = Literal["ok", "warn", "fail"]

# Asked of the experiment's interpreter; stdlib only, imports nothing heavy.
_LIST_DISTRIBUTIONS = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps({'python': sys.version.split()[0],"
    "'distributions': {d.metadata['Name'].lower().replace('_', '-'): d.version"
    " for d in m.distributions() if d.metadata['Name']}}))"
)
_NEEDED = ("torch", "transformer-lens", "sae-bench", "transformers", "datasets")
_LEVEL_REMEDIES = {
    "L1": "A kernel with Landlock (Linux 6.12 or newer, `landlock` among the LSMs).",
    "L2": "apt-get install bubblewrap; on Ubuntu 24.04 its AppArmor profile has to allow user namespaces.",
    "L3": "Run the server as root, or in a systemd scope of its own with delegated memory and pids.",
}
_MIN_FREE_BYTES = 5 * 2**30


class Check(Record):
    """One thing looked at. `remedy` is a command, or one sentence."""

    name: str
    status: Status
    message: str
    remedy: str = ""


def examine(
    interpreter: Path, home: Path, linters: Mapping[str, str], levels: Sequence[LevelReport]
) -> list[Check]:
    """Look at this machine: our own needs, then those of the default template.

    linters: for each linter why it cannot be used here, empty where it can.
    levels: what trying each level of isolation has shown.
    """
    return [
        _python(sys.version_info[:2]),
        _git(),
        _sqlite(sqlite3.sqlite_version_info),
        _disk(home),
        _gpu(),
        *judge_levels(levels),
        *(_linter(tool, why) for tool, why in linters.items()),
        *_experiment_side(interpreter),
    ]


def _python(version: tuple[int, int]) -> Check:
    text = f"Python {version[0]}.{version[1]}"
    if version < (3, 11):
        return Check(
            name="python", status="fail", message=text, remedy="Install Python 3.11 or newer."
        )
    return Check(name="python", status="ok", message=text)


def _git() -> Check:
    path = shutil.which("git")
    if path is None:
        return Check(name="git", status="fail", message="not found", remedy="apt-get install git")
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    version = answer.stdout.strip().removeprefix("git version ")
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdigit())
    if numbers < (2, 31):
        remedy = "Install git 2.31 or newer."
        return Check(name="git", status="fail", message=f"{version} is too old", remedy=remedy)
    return Check(name="git", status="ok", message=version)


def _sqlite(version: tuple[int, ...]) -> Check:
    text = ".".join(map(str, version))
    if version < (3, 51, 3):
        # https://sqlite.org/wal.html#walresetbug: rare, and only with several writing connections
        return Check(
            name="sqlite",
            status="warn",
            message=f"{text} has the WAL-reset bug (fixed in 3.51.3)",
            remedy="Avoid many proposals at the same instant on one home, or use a newer Python build.",
        )
    return Check(name="sqlite", status="ok", message=text)


def _disk(home: Path) -> Check:
    folder = next(parent for parent in (home, *home.absolute().parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < _MIN_FREE_BYTES:
        remedy = "Free some space, or choose another folder with --home."
        return Check(name="disk", status="warn", message=text, remedy=remedy)
    return Check(name="disk", status="ok", message=text)


def _gpu() -> Check:
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    if not devices:
        return Check(name="gpu", status="ok", message="none: experiments run on the CPU")
    return Check(name="gpu", status="ok", message=f"{len(devices)} NVIDIA device(s)")


def judge_levels(levels: Sequence[LevelReport]) -> list[Check]:
    """Which isolation runs have here. Pure."""
    works = [report.level for report in levels if report.works]
    best = max(works, default="L0")
    checks = [
        Check(
            name=f"sandbox {report.level}",
            status="ok" if report.works or report.level == "L3" else "warn",
            message=report.reason if report.works else f"does not work here: {report.reason}",
            remedy="" if report.works else _LEVEL_REMEDIES.get(report.level, ""),
        )
        for report in levels
    ]
    return [
        *checks,
        Check(
            name="sandbox",
            status="ok" if best >= "L2" else "warn",
            message=f"runs are shut in at {best}, the highest that works here"
            if best != "L0"
            else "none: code written by a model runs with all your rights",
            remedy="" if best >= "L2" else "apt-get install bubblewrap",
        ),
    ]


def _linter(tool: str, why: str) -> Check:
    if not why:
        return Check(name=tool, status="ok", message="can be used")
    return Check(
        name=tool,
        status="warn",
        message=f"{why}; faults that it would see cost a preflight check, or a run",
        remedy=f"{sys.executable} -m pip install {tool}",
    )


def _experiment_side(interpreter: Path) -> list[Check]:
    try:
        answer = subprocess.run(
            [str(interpreter), "-c", _LIST_DISTRIBUTIONS],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return [
            Check(
                name="interpreter",
                status="fail",
                message=f"{interpreter} does not answer: {error}",
                remedy="Set AGENT_RUNNER_PYTHON to a Python that can run your experiments.",
            )
        ]
    version = tuple(int(n) for n in found["python"].split(".")[:2])
    return judge_distributions(found["distributions"], version, str(interpreter))


def judge_distributions(
    distributions: Mapping[str, str], python: tuple[int, ...], interpreter: str = "python"
) -> list[Check]:
    """Known traps of the SAE stack, from a list of installed distributions (name -> version).

    Pure. Each trap was met and measured; `pip check` sees none of them.
    """
    pip = f"{interpreter} -m pip"
    missing = [name for name in _NEEDED if name not in distributions]
    if missing:
        return [
            Check(
                name="sae extra",
                status="warn",
                message=f"not installed: {', '.join(missing)}; the default template cannot run "
                "(other templates can)",
                remedy="In a checkout: make setup. Elsewhere: "
                f"{pip} install 'agent-experiment-runner[sae]', then this again.",
            )
        ]
    checks = [
        Check(name="sae extra", status="ok", message=f"torch {distributions['torch']}"),
        _torchvision(distributions, pip),
        _beartype(distributions, pip),
        _scikit_learn(distributions, pip),
        _nccl(distributions, pip),
        _numpy(distributions, python, pip),
    ]
    return [check for check in checks if check is not None]


def _torchvision(distributions: Mapping[str, str], pip: str) -> Check | None:
    vision, torch = distributions.get("torchvision"), distributions["torch"]
    if vision is None or "+cpu" not in torch or "+cpu" in vision:
        return None
    return Check(
        name="torchvision",
        status="fail",
        message=f"torchvision {vision} is built for CUDA, torch {torch} for the CPU: every import of "
        "transformers fails with `operator torchvision::nms does not exist`",
        remedy=f"{pip} uninstall -y torchvision",
    )


def _beartype(distributions: Mapping[str, str], pip: str) -> Check | None:
    version = distributions.get("beartype")
    if version is None or _numbers(version) < (0, 15):
        return None
    return Check(
        name="beartype",
        status="warn",
        message=f"beartype {version} refuses sae_bench's own probes (BeartypeCallHintParamViolation) "
        "unless JAXTYPING_DISABLE=1 is set, as our template does",
        remedy=f"{pip} install beartype==0.14.1",
    )


def _scikit_learn(distributions: Mapping[str, str], pip: str) -> Check | None:
    version = distributions.get("scikit-learn")
    if version is None or _numbers(version) < (1, 10):
        return None
    return Check(
        name="scikit-learn",
        status="fail",
        message=f"scikit-learn {version} no longer takes the `penalty` that sae_bench gives its probes",
        remedy=f"{pip} install 'scikit-learn<1.10'",
    )


def _nccl(distributions: Mapping[str, str], pip: str) -> Check | None:
    version = distributions.get("nvidia-nccl-cu12")
    if version is None or "+cpu" not in distributions["torch"]:
        return None
    return Check(
        name="nvidia-nccl-cu12",
        status="warn",
        message=f"nvidia-nccl-cu12 {version} takes 469 MB and is of no use to a CPU build of torch",
        remedy=f"{pip} uninstall -y nvidia-nccl-cu12",
    )


def _numpy(distributions: Mapping[str, str], python: tuple[int, ...], pip: str) -> Check | None:
    version = distributions.get("numpy", "0")
    if python >= (3, 13):
        return Check(
            name="python (experiments)",
            status="warn",
            message=f"Python {'.'.join(map(str, python))}: sae-bench needs numpy 1.26, which has no build "
            "for it",
            remedy="Use Python 3.11 or 3.12 for the experiments: AGENT_RUNNER_PYTHON=...",
        )
    if _numbers(version) < (2,):
        return None
    return Check(
        name="numpy",
        status="fail",
        message=f"numpy {version}: sae-bench 0.6 needs numpy 1",
        remedy=f"{pip} install 'numpy<2'",
    )


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit())
