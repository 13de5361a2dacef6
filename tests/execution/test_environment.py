"""What an experiment is told, and what it must not be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.errors import TemplateError
from agent_runner.execution import environment, visible
from agent_runner.execution.environment import ALLOWED, HOOK, build_environment, resolve_argv
from agent_runner.execution.job_files import Limits, Spec

SECRETS = {
    "HF_TOKEN": "planted-1",
    "HUGGING_FACE_HUB_TOKEN": "planted-2",
    "OPENAI_API_KEY": "planted-3",
    "ANTHROPIC_API_KEY": "planted-4",
    "NVIDIA_API_KEY": "planted-5",
    "AWS_SECRET_ACCESS_KEY": "planted-6",
    "WANDB_API_KEY": "planted-7",
    "GITHUB_TOKEN": "planted-8",
    "HTTPS_PROXY": "http://user:planted-9@proxy",
    "SSH_AUTH_SOCK": "/planted-10",
    "PYTHONSTARTUP": "/planted-11",
    "LD_PRELOAD": "/planted-12",
    "AGENT_RUNNER_TOKEN": "planted-13",
    "LC_MY_PASSWORD": "planted-14",
    "HF_HOME": "/planted-15",  # holds the login token
    "NETRC": "planted-16",
}


@pytest.fixture(autouse=True)
def _temporary_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "tmpdir"
    folder.mkdir()
    monkeypatch.setattr(environment.tempfile, "tempdir", str(folder))
    yield


def build(tmp_path: Path, base: dict[str, str], **options: object) -> dict[str, str]:
    extra = options.pop("extra", {})
    return build_environment(tmp_path / "record", tmp_path / "cache", extra, base=base, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", [False, True])
def test_no_secret_gets_through(tmp_path: Path, network: bool) -> None:
    built = build(tmp_path, {**SECRETS, "HOME": "/home/u", "PATH": "/bin"}, network=network)
    for name, value in SECRETS.items():
        assert name not in built
        if name != "HF_HOME":
            assert value not in built.values()


def test_a_program_sees_none_either(tmp_path: Path) -> None:
    built = build(tmp_path, {**os.environ, **SECRETS})
    code = "import os; print(dict(os.environ), open('/proc/self/environ').read())"
    command = [sys.executable, "-c", code]
    seen = subprocess.run(command, env=built, capture_output=True, text=True, check=True).stdout
    # The folder itself is no secret, and its caches are handed on.
    seen = seen.replace("/planted-15/hub", "").replace("/planted-15/datasets", "")
    assert "AGENT_RUNNER_RECORD_DIR" in seen and "planted" not in seen


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z_]{0,20}", fullmatch=True), st.text(max_size=20)))
def test_only_named_variables_are_taken(
    tmp_path_factory: pytest.TempPathFactory, base: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("e")
    ours = set(build(folder, {}))
    names = {*ours, *ALLOWED}
    built = build(folder, base)
    assert set(built) <= names
    assert all(value.isprintable() for value in built.values())


def test_the_defaults_and_the_contract(tmp_path: Path) -> None:
    base = {"PATH": "/bin", "HOME": "/home/u", "LANG": "C.UTF-8", "CUDA_VISIBLE_DEVICES": ""}
    built = build(tmp_path, base, extra={"AGENT_RUNNER_SMOKE": "1", "TQDM_MININTERVAL": "1"})
    assert built["AGENT_RUNNER_RECORD_DIR"] == str(tmp_path / "record" / "job")
    assert built["AGENT_RUNNER_CACHE"] == str(tmp_path / "cache")
    assert built["AGENT_RUNNER_SMOKE"] == "1"
    assert built["TQDM_MININTERVAL"] == "1"  # the template's word counts more than ours
    assert (built["LANG"], built["CUDA_VISIBLE_DEVICES"]) == ("C.UTF-8", "")
    assert built["PYTHONPATH"] == str(HOOK)
    assert built["PYTHONUNBUFFERED"] == built["PYTHONFAULTHANDLER"] == "1"
    assert (
        Path(built["HOME"]) == tmp_path / "record" / "box" / "home" and Path(built["HOME"]).is_dir()
    )
    assert built["HF_HUB_CACHE"] == "/home/u/.cache/huggingface/hub"
    assert built["HF_DATASETS_CACHE"] == "/home/u/.cache/huggingface/datasets"


def test_the_hook_cannot_be_displaced(tmp_path: Path) -> None:
    extra = {"PYTHONPATH": "/theirs", "AGENT_RUNNER_RECORD_DIR": "/elsewhere"}
    built = build(tmp_path, {}, extra=extra)
    assert built["PYTHONPATH"] == f"{HOOK}{os.pathsep}/theirs"
    assert built["AGENT_RUNNER_RECORD_DIR"] == str(tmp_path / "record" / "job")


def test_offline_unless_the_network_is_granted(tmp_path: Path) -> None:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    base = {"SSL_CERT_FILE": "/certs"}
    offline, online = build(tmp_path, base), build(tmp_path, base, network=True)
    assert all(offline[name] == "1" and name not in online for name in names)
    assert "SSL_CERT_FILE" not in offline and online["SSL_CERT_FILE"] == "/certs"


def test_explicit_hugging_face_caches_are_handed_on(tmp_path: Path) -> None:
    base = {"HF_HOME": "/models", "HF_HUB_CACHE": "/fast/hub"}
    built = build(tmp_path, base)
    assert built["HF_HUB_CACHE"] == "/fast/hub"
    assert built["HF_DATASETS_CACHE"] == "/models/datasets"


def test_bytes_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    built = build(tmp_path, {"LANG": "\udcff", "TZ": "a\nb", "PATH": "\udcff", "USER": "u"})
    assert "LANG" not in built and "TZ" not in built and built["USER"] == "u"
    assert built["PATH"] == os.defpath


def test_temporary_files_have_a_short_private_folder_of_their_own(tmp_path: Path) -> None:
    first = Path(build(tmp_path, {})["TMPDIR"])
    (first / "left").write_text("x")
    assert first.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "record" / "tmp").readlink() == first
    second = Path(build(tmp_path, {})["TMPDIR"])
    assert second.is_dir() and not first.exists()  # the first one's job never ran


def test_the_hook_is_compiled_beforehand(tmp_path: Path) -> None:
    source = tmp_path / "sitecustomize.py"
    source.write_text("x = 1\n")
    environment._compile_hook(source)
    (compiled,) = (tmp_path / "__pycache__").iterdir()
    first = compiled.stat().st_mtime_ns
    environment._compile_hook(source)
    assert compiled.stat().st_mtime_ns == first
    os.utime(source, ns=(first + 10**9, first + 10**9))
    environment._compile_hook(source)
    assert compiled.stat().st_mtime_ns > first


def test_the_interpreters_programs_come_first(tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").touch()
    base = {"PATH": "/bin", "VIRTUAL_ENV": "/the/servers"}
    built = build(tmp_path, base, interpreter=folder / "bin" / "python")
    assert built["PATH"] == f"{folder / 'bin'}:/bin"
    assert built["VIRTUAL_ENV"] == str(folder)
    assert "VIRTUAL_ENV" not in build(tmp_path, base)


# ---------------------------------------------------------------- what is shown of an interpreter


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's."""
    folder = tmp_path / "homes" / "me"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def answering(program: Path, *prefixes: Path) -> Path:
    """A program that says that it consists of these folders."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\necho '{json.dumps([str(p) for p in prefixes])}'\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("place", ["bin/python", ".local/bin/python3.11", "x/bin/python"])
def test_the_folder_above_a_program_is_not_shown_for_that(home: Path, place: str) -> None:
    real = home.parent / "python-3.11"
    found = environment.interpreter_folders(answering(home / place, real, real / "lib"))
    assert found == (real, real / "lib")


@pytest.mark.parametrize("private", ["me", "me/.local", "", "..", "link"])
def test_a_home_is_never_shown_whatever_the_interpreter_says(home: Path, private: str) -> None:
    """Of a Python that is installed in one only its library is, which is a folder of its own."""
    (home.parent / "link").symlink_to(home)
    prefix, library = home.parent / private, home / "lib" / "python3.11"
    program = answering(home / "bin" / f"python-{private.replace('/', '-')}", prefix, library)
    assert environment.interpreter_folders(program) == (library,)


def test_a_virtual_environment_is_shown_by_its_own_path(home: Path) -> None:
    program = answering(home / "venv" / "bin" / "python", home.parent / "python-3.11")
    (home / "venv" / "pyvenv.cfg").touch()
    found = environment.interpreter_folders(program)
    assert set(found) == {home / "venv", home.parent / "python-3.11"}


def test_this_interpreter_is_shown_whole() -> None:
    shown = environment.interpreter_folders(Path(sys.executable))
    needed = [Path(sys.prefix), Path(os.__file__).parent]
    assert all(any(path.is_relative_to(f) for f in (*shown, Path("/usr"))) for path in needed)


def test_what_may_be_shown(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = (home.parent / "you", home / "sub", home / ".local" / "share", home.parent / "me2")
    assert all(visible.may_be_shown(str(folder)) for folder in outside)
    shut = ("/", "//", str(home), f"{home}/", str(home.parent), f"{home}/sub/..", f"{home}/.local")
    assert not any(map(visible.may_be_shown, shut))
    # The system's word counts as well as the environment's.
    monkeypatch.setattr(visible, "_home_of", lambda user: str(home))
    for other in ("/elsewhere", "", "relative", "/"):
        monkeypatch.setenv("HOME", other)
        assert not any(map(visible.may_be_shown, shut))
        assert all(visible.may_be_shown(str(folder)) for folder in outside)


def test_the_server_s_own_interpreter_in_a_home_is_shown_without_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec("x", ("none",), str(home), {}, str(home / "record"), Limits())
    for prefix, shown in ((home, False), (home / ".local", False), (home / "python", True)):
        prefix.mkdir(exist_ok=True)
        monkeypatch.setattr(sys, "base_prefix", str(prefix))
        monkeypatch.setattr(sys, "base_exec_prefix", str(prefix))
        paths = visible.paths(spec)
        assert (str(prefix) in paths) is shown
        assert visible.INTERPRETER in paths and os.path.dirname(os.__file__) in paths


# ---------------------------------------------------------------- command line

PYTHON = Path("/venv/bin/python")


@pytest.mark.parametrize("name", ["python", "python3", "python3.11"])
def test_python_is_the_experiments_interpreter(name: str) -> None:
    argv = resolve_argv(f"{name} experiment.py --out_dir={{out_dir}}", "run_1", PYTHON)
    assert argv == ("/venv/bin/python", "experiment.py", "--out_dir=run_1")


def test_other_programs_and_later_words_stay(tmp_path: Path) -> None:
    assert resolve_argv("bash run.sh python", "", PYTHON) == ("bash", "run.sh", "python")
    assert resolve_argv("./python x", "", PYTHON) == ("./python", "x")
    assert resolve_argv("python -c 'a b {x}'", "", PYTHON)[1:] == ("-c", "a b {x}")


@given(st.text(min_size=1))
def test_an_out_dir_is_always_one_word(out_dir: str) -> None:
    argv = resolve_argv("python e.py --out_dir={out_dir}", out_dir, PYTHON)
    assert argv[2:] == (f"--out_dir={out_dir}",)


def test_a_virtual_environments_link_is_not_resolved(tmp_path: Path) -> None:
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert resolve_argv("python x", "", link)[0] == str(link)


def test_a_bare_interpreter_is_looked_up_here() -> None:
    assert Path(resolve_argv("python x", "", Path("sh"))[0]).is_absolute()


@pytest.mark.parametrize("command", ["", "   ", "python 'unclosed"])
def test_a_command_that_cannot_be_read(command: str) -> None:
    with pytest.raises(TemplateError) as error:
        resolve_argv(command, "run_1", PYTHON)
    assert "template.toml" in error.value.remedy
