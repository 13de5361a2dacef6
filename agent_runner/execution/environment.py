"""What an experiment is told: its environment, built from an allow-list, and its command line.

Nothing of the server's environment gets through that is not named here, so no secret can, whatever it is
called. The user's Hugging Face folder is not handed on either, since it holds the login token: only the two
caches inside it are.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import py_compile
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from agent_runner.errors import ExecutorError, TemplateError
from agent_runner.execution import scratch, visible
from agent_runner.execution.job_files import BOX, JOB, SCRATCH_LINK, SCRATCH_PREFIX

HOOK = Path(__file__).resolve().parent / "hook"

_LOCALE = ("LANG", "LANGUAGE", "TZ", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE")
_USER = ("USER", "LOGNAME")
_LIBRARIES = ("LD_LIBRARY_PATH", "TORCH_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# By name and not by prefix: NVIDIA_API_KEY is a secret.
_GPU = (
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "CUDA_HOME",
    "CUDA_PATH",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
)
_NETWORK = ("HF_ENDPOINT", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
ALLOWED = (*_LOCALE, *_USER, *_LIBRARIES, *_THREADS, *_GPU)

_ALWAYS = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    # Output is read by an agent: no colours, no cursor movements, few frames of each progress bar.
    "NO_COLOR": "1",
    "TERM": "dumb",
    "TQDM_MININTERVAL": "10",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    "MPLBACKEND": "Agg",
}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_ASK_PREFIXES = (
    "import json, os, sys;"
    "print(json.dumps([sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix,"
    " os.path.dirname(os.__file__)]))"
)
_PYTHON = re.compile(r"python(3(\.\d+)?)?")


def build_environment(
    record_dir: Path,
    cache_dir: Path,
    extra: Mapping[str, str],
    *,
    base: Mapping[str, str] = os.environ,
    interpreter: Path | None = None,
    network: bool = False,
    own_tmp: bool = False,
) -> dict[str, str]:
    """The whole environment of a job. Makes its private HOME and TMPDIR.

    record_dir: where the job's records go.
    cache_dir: the shared inputs that `prepare` has made.
    extra: set by the template or the service; it goes before the defaults, and is not filtered.
    base: the environment from which the allowed names are taken.
    interpreter: its `bin` folder comes first on PATH.
    network: whether the job may use it; without, libraries are told that they are offline.
    own_tmp: whether /tmp will be the job's own, as in a sandbox; otherwise its TMPDIR is made here.

    Raises:
        OSError: HOME or TMPDIR cannot be made.
    """
    for source in HOOK.glob("*.py"):
        _compile_hook(source)
    home = record_dir / BOX / "home"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (record_dir / JOB).mkdir(mode=0o700, exist_ok=True)
    allowed = (*ALLOWED, *_NETWORK) if network else ALLOWED
    # Many programs ask who they are, and a user id of a sandbox has no name on the host.
    environment = {"USER": "runner", "LOGNAME": "runner"}
    environment |= {name: base[name] for name in allowed if _is_text(base.get(name))}
    environment |= _hugging_face_caches(base) | _ALWAYS | ({} if network else _OFFLINE)
    tmp = "/tmp" if own_tmp else str(_scratch_folder(record_dir))
    environment |= {"HOME": str(home), "TMPDIR": tmp}
    environment["PATH"] = base["PATH"] if _is_text(base.get("PATH")) else os.defpath
    if interpreter is not None:
        environment |= _of_interpreter(interpreter, environment["PATH"])
    environment |= extra
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HOOK), extra.get("PYTHONPATH"))))
    environment["AGENT_RUNNER_RECORD_DIR"] = str(record_dir / JOB)
    environment["AGENT_RUNNER_CACHE"] = str(cache_dir)
    environment["AGENT_RUNNER_NETWORK"] = "1" if network else "0"
    return environment


def resolve_argv(command: str, out_dir: str, interpreter: Path) -> tuple[str, ...]:
    """The command line of a template's command, with `{out_dir}` filled in and `python` made the interpreter.

    The interpreter's path is not resolved: a virtual environment is found by its link.

    Raises:
        TemplateError: the command cannot be split into words, or is empty.
    """
    remedy = (
        "Correct the command in template.toml; it is split as by a shell, but no shell runs it."
    )
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise TemplateError(f"the command {command!r} cannot be read: {error}", remedy) from error
    if not words:
        raise TemplateError("the command is empty", remedy)
    # Words first: an out_dir with blanks or quotes stays one argument.
    words = [word.replace("{out_dir}", out_dir) for word in words]
    if _PYTHON.fullmatch(words[0]):
        words[0] = str(_absolute(interpreter))
    return tuple(words)


@functools.cache
def interpreter_folders(interpreter: Path) -> tuple[Path, ...]:
    """The folders that an interpreter consists of: its environment's, and those it was made from.

    None that is or holds the user's home, however the interpreter was installed: of such a one, its standard
    library alone. The program itself is shown as a file (see `visible.paths`).

    Raises:
        ExecutorError: it does not answer.
    """
    path = _absolute(interpreter)
    prefixes = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    prefixes.append(os.path.dirname(os.__file__))
    if path != _absolute(Path(sys.executable)):
        try:
            answer = subprocess.run(
                [str(path), "-I", "-S", "-c", _ASK_PREFIXES],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            prefixes = json.loads(answer.stdout)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            raise ExecutorError(
                f"the experiments' interpreter {path} does not answer: {error}",
                "Set AGENT_RUNNER_PYTHON to a Python that can run your experiments.",
            ) from error
    folders = {Path(prefix) for prefix in prefixes}
    environment = path.parent.parent
    if (environment / "pyvenv.cfg").exists():  # it is found by this very path, which may have links
        folders.add(environment)
    # /usr is shown anyway.
    shown = (f for f in folders if len(f.parts) > 2 and visible.may_be_shown(str(f)))
    return tuple(sorted(shown))


def downloaded(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Folders of models and data that the environment names, which are shown to a job that is shut in."""
    names = ("HF_HUB_CACHE", "TORCH_HOME")
    found = (Path(environment[name]) for name in names if environment.get(name))
    return tuple(folder for folder in found if folder.is_dir())


def _absolute(interpreter: Path) -> Path:
    found = shutil.which(interpreter) if interpreter.parent == Path() else None
    return Path(found or interpreter).absolute()


def _of_interpreter(interpreter: Path, path: str) -> dict[str, str]:
    bin_folder = _absolute(interpreter).parent
    result = {"PATH": os.pathsep.join((str(bin_folder), path))}
    if (bin_folder.parent / "pyvenv.cfg").exists():
        result["VIRTUAL_ENV"] = str(bin_folder.parent)
    return result


def _compile_hook(source: Path) -> None:
    """Save each interpreter of the job that work: told to write no bytecode, none would ever keep it."""
    compiled = Path(importlib.util.cache_from_source(str(source)))
    with contextlib.suppress(OSError):  # an installation that is read-only
        if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
            return
        py_compile.compile(str(source), doraise=False, quiet=2)


def _hugging_face_caches(base: Mapping[str, str]) -> dict[str, str]:
    """The user's downloaded models and datasets, without the folder that also holds the token."""
    home = base.get("HOME") or "~"
    folder = Path(base.get("HF_HOME") or f"{home}/.cache/huggingface").expanduser()
    found = {
        "HF_HUB_CACHE": base.get("HF_HUB_CACHE") or str(folder / "hub"),
        "HF_DATASETS_CACHE": base.get("HF_DATASETS_CACHE") or str(folder / "datasets"),
    }
    return {name: value for name, value in found.items() if _is_text(value)}


def _scratch_folder(record_dir: Path) -> Path:
    """A new TMPDIR, linked from the record folder; the shim removes it when the job is over.

    It is not in the record folder: multiprocessing makes sockets below it, and their paths may have 107 bytes
    at most.
    """
    link = record_dir / SCRATCH_LINK
    # Of an earlier job that never ran.
    scratch.remove_temporary_folder(str(record_dir), scratch.temporary_folder(str(record_dir)))
    link.unlink(missing_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX)).absolute()
    link.symlink_to(folder)
    return folder


def _is_text(value: str | None) -> bool:
    """Whether a value is there and can stand in a record: the system allows bytes that are no text."""
    return value is not None and value.isprintable()
