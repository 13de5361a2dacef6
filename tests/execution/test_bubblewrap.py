"""What a job in bubblewrap sees, with real processes (test_mounts.py has the arguments)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_jobs import PYTHON, Ground, need
from shim_jobs import ROOT

from agent_runner.execution import bubblewrap, job_files, scratch


@pytest.fixture
def sandbox() -> None:
    need("L2")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path / "home")


# ---------------------------------------------------------------- places


LOOK = """
import json, os, sys
def seen(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path).read()
    except OSError as error:
        return error.errno
def put(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return error.errno
    return 0
os.makedirs("run_1")
with open("run_1/final_info.json", "w") as file: file.write("{}")
"""
pytest_sandbox = pytest.mark.usefixtures("sandbox")


@pytest_sandbox
@pytest.mark.parametrize("place", ["below /tmp", "elsewhere", "behind links"])
def test_homes_anywhere(tmp_path: Path, place: str) -> None:
    base = tmp_path
    if place == "elsewhere":
        base = Path("/var/lib") if os.geteuid() == 0 else Path.home()
        base = base / f"agent_runner-test-{os.getpid()}"
        base.mkdir()
    elif place == "behind links":
        (tmp_path / "real" / "deep").mkdir(parents=True)
        (tmp_path / "first").symlink_to("real")
        (tmp_path / "second").symlink_to(tmp_path / "first" / "deep")
        base = tmp_path / "second"
    try:
        (base / "secret").write_text("secret")
        ground = Ground(base / "a home")
        (ground.home / "ledger").write_text("secret")
        code = f"print(json.dumps([os.getcwd(), seen('{base}'), seen('{ground.home}')]))"
        cwd, beside, home = ground.say(LOOK + code)
        assert cwd == os.path.realpath(ground.worktree)
        assert "secret" not in beside and "ledger" not in home
        assert (ground.out / "final_info.json").read_text() == "{}"
        assert ground.left() == set()
    finally:
        if place == "elsewhere":
            shutil.rmtree(base)


@pytest_sandbox
def test_a_home_inside_what_is_shown_is_hidden(tmp_path: Path) -> None:
    """Also when it is shown under another name. What of it is granted is seen all the same."""
    shown = tmp_path / "shown"
    (shown / "public").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(shown)
    ground = Ground(shown / "home")
    (ground.home / "ledger").write_text("secret")
    (ground.home / "cache").mkdir()
    (ground.home / "cache" / "model").write_text("weights")
    alias = tmp_path / "alias"
    code = (
        f"print(json.dumps([seen(f'{{p}}/{{n}}') for p in ('{shown}', '{alias}') for n in "
        "('', 'home/ledger', 'home/cache/model')] + "
        f"[put('{ground.home}/x'), put('{ground.home}/cache/x'), put('{shown}/x')]))"
    )
    read = (*map(str, (alias, ground.home / "cache")), *ground.spec().confinement.read)
    said = ground.say(LOOK + code, confinement={"read": read, "hidden": (str(alias / "home"),)})
    assert said[:6] == [["home", "public"], 2, "weights"] * 2
    assert not set(said[6:]) & {0}
    assert ground.left() == set() and ground.out.is_dir()


@pytest_sandbox
def test_what_is_written_beside_the_output_folder(ground: Ground) -> None:
    """A granted folder inside the hidden home, and one outside."""
    results = ground.home / "records" / "smoke" / "results"
    outside = ground.home.parent / "outside"
    granted = (str(results), str(outside))
    code = f"print(json.dumps([put(p + '/x') for p in {granted!r}]))"
    assert ground.say(LOOK + code, confinement={"write": granted}) == [0, 0]
    for folder in (results, outside):
        assert (folder / "x").stat().st_uid == os.geteuid()


@pytest_sandbox
def test_private_folders_are_private(ground: Ground, tmp_path: Path) -> None:
    code = (
        f"print(json.dumps([seen('/tmp'), seen('/dev/shm'), seen(os.environ['HOME']), put('/tmp/x'),"
        f"put('/dev/shm/x'), put(os.environ['HOME'] + '/x'), put('/x'), put('/etc/x'), put('/dev/x'),"
        f"put('/usr/x'), seen('{tmp_path}/host'), seen('/etc/shadow')]))"
    )
    (tmp_path / "host").write_text("secret")
    said = ground.say(LOOK + code)
    tmp, shm, home, *rest = said
    # below /tmp there is the way to the worktree and nothing else
    shown = (
        tmp_path,
        Path(bubblewrap.__file__),
    )  # the second is there where we are installed below /tmp
    way = {path.parts[2] for path in shown if path.parts[1] == "tmp"}
    assert set(tmp) <= way and shm == home == []
    assert rest[:3] == [0, 0, 0] and not {0} & set(rest[3:7])
    assert rest[7:] == [2, 2]


# ---------------------------------------------------------------- worktrees


ODD = ("blank s", "line\nbreak", "-dash", "--bind", "quote'\"", "ü", "*")


@pytest_sandbox
def test_entries_of_all_kinds(ground: Ground) -> None:
    tree = ground.worktree
    for name in ODD:
        (tree / name).write_text(name)
        (tree / f"{name}.d").mkdir()
        (tree / f"{name}.d" / name).write_text(name)
    (Path(os.fsdecode(os.fsencode(tree) + b"/not-\xff-text"))).write_text("bytes")
    (tree / "inner").symlink_to("blank s")
    (tree / "outer").symlink_to("/etc/shadow")
    (tree / "dangling").symlink_to("nowhere")
    (tree / ".git").write_text("gitdir: elsewhere")
    (tree / "closed").write_text("x")
    (tree / "closed").chmod(0)
    os.mkfifo(tree / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        code = f"""
names = {ODD!r}
print(json.dumps([
    [seen(n) for n in names], [seen(n + ".d/" + n) for n in names],
    seen(b"not-\\xff-text"), os.readlink("inner"), seen("inner"), os.readlink("outer"), seen("outer"),
    os.readlink("dangling"), sorted({{"fifo", "socket", ".git"}} & set(os.listdir())),
]))
"""
        said = ground.say(LOOK + code)
    names = list(ODD)
    assert said[:2] == [names, names]
    assert said[2:] == ["bytes", "blank s", "blank s", "/etc/shadow", 2, "nowhere", []]
    assert ground.left() == set()
    assert (tree / "outer").is_symlink() and (tree / "closed").read_text() == "x"


@pytest_sandbox
def test_an_empty_worktree(ground: Ground) -> None:
    argv = (str(PYTHON), "-c", "import os; os.mkdir('run_1'); print(os.listdir())")
    assert ground.run(argv=argv).returncode == 0
    assert ground.stdout() == "['run_1']\n" and os.listdir(ground.worktree) == ["run_1"]


@pytest_sandbox
def test_a_worktree_with_very_many_entries(ground: Ground) -> None:
    count = 3100  # bubblewrap takes at most 9,000 words, three of them for each mount
    for number in range(count):
        (ground.worktree / f"{number}.txt").write_text("x")
    (ground.worktree / "folder").mkdir()
    code = (
        "print(json.dumps([sum(len(seen(n)) for n in os.listdir() if n.endswith('.txt')), "
        "[put(n) for n in ('1.txt', '3099.txt', 'experiment.py', 'folder/x')], os.path.islink('folder')]))"
    )
    total, refused, is_link = ground.say(LOOK + code)
    assert total == count and not {0} & set(refused) and not is_link
    assert len(os.listdir(ground.worktree)) == count + 3 and ground.left() == set()
    assert (ground.worktree / "3099.txt").read_text() == "x"


@pytest_sandbox
def test_files_that_only_the_server_may_read(ground: Ground) -> None:
    """As a server with the umask 077 makes them: they are the experiment's all the same."""
    folder = ground.worktree / "package"
    folder.mkdir(mode=0o700)
    (folder / "module.py").write_text("x = 1")
    (folder / "module.py").chmod(0o600)
    spec = ground.spec(LOOK + "import package.module; print(package.module.x)")
    (ground.worktree / "experiment.py").chmod(0o600)
    assert ground.run(argv=spec.argv).returncode == 0, ground.stderr()
    assert ground.stdout() == "1\n"


# ---------------------------------------------------------------- interpreters


@pytest_sandbox
@pytest.mark.parametrize("kind", ["system", "other environment", "chain of links"])
def test_interpreters(ground: Ground, tmp_path: Path, kind: str) -> None:
    system = Path("/usr/bin/python3")
    if not system.exists():
        pytest.skip("there is no /usr/bin/python3")
    read = ()
    python = system
    if kind == "other environment":
        made = tmp_path / "envs" / "of mine"
        command = [sys.executable, "-m", "venv", "--without-pip", "--symlinks", str(made)]
        subprocess.run(command, check=True)
        python = made / "bin" / "python"
        read = (*ground.spec().confinement.read, str(made))
    elif kind == "chain of links":
        (tmp_path / "bin").mkdir()
        (tmp_path / "opt").mkdir()
        (tmp_path / "opt" / "current").symlink_to(tmp_path / "bin")
        (tmp_path / "bin" / "python").symlink_to(tmp_path / "opt" / "real")
        (tmp_path / "opt" / "real").symlink_to(system)
        python = tmp_path / "opt" / "current" / "python"
    code = "import sys; print(sys.prefix)"
    argv = (str(python), "-I", "-c", code)
    ended = ground.run(argv=argv, confinement={"read": read})
    assert (ended.reason, ended.returncode) == ("exited", 0), (ended, ground.stderr())
    if kind == "other environment":
        assert ground.stdout() == f"{tmp_path}/envs/of mine\n"


# ---------------------------------------------------------------- faults


def run_changed(ground: Ground, change: str, root: Path = ROOT) -> dict[str, object]:
    """Run a job by a shim in which something is changed first."""
    spec = ground.spec("print('ran')")
    (ground.record / job_files.SPEC).write_text(spec.model_dump_json())
    driver = ground.home / "driver.py"
    driver.write_text(
        f"import sys\nsys.path.append({str(root)!r})\n"
        f"from agent_runner.execution import bubblewrap, shim, child\n{change}\n"
        "sys.exit(shim.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-I", "-S", str(driver), str(ground.record / job_files.SPEC)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    while job_files.is_locked(str(ground.record / job_files.LOCK)):
        pass
    return json.loads((ground.record / job_files.EXIT).read_text())  # type: ignore[no-any-return]


@pytest_sandbox
def test_an_installation_below_tmp(ground: Ground, tmp_path: Path) -> None:
    """In a sandbox /tmp is the job's; our first program has to be reached there before it is the job's user."""
    root = Path("/tmp", f"agent_runner.test-{os.getpid()}")
    try:
        shutil.copytree(ROOT / "agent_runner" / "execution", root / "agent_runner" / "execution")
        (root / "agent_runner" / "__init__.py").touch()
        ended = run_changed(ground, "", root)
        assert (ended["reason"], ended["returncode"]) == ("exited", 0), ended
        assert ground.stdout() == "ran\n"
    finally:
        shutil.rmtree(root)


def test_without_bubblewrap_nothing_starts(ground: Ground) -> None:
    ended = run_changed(ground, "bubblewrap._PROGRAMS = ('/no/such/bwrap',)")
    assert ended["reason"] == "not_started"
    assert "apt-get install bubblewrap" in str(ended["message"])
    assert ground.left() == set() and ground.stdout() == ""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("#!/bin/sh\necho 'bwrap: no permissions' >&2\nexit 1\n", "bwrap: no permissions"),
        ("#!/bin/sh\nexit 0\n", "the sandbox could not be set up"),
        ("not a program", "Exec format error"),
    ],
)
def test_a_bubblewrap_that_fails(ground: Ground, program: str, said: str) -> None:
    false = ground.home / "bwrap"
    false.write_text(program)
    false.chmod(0o755)
    ended = run_changed(ground, f"bubblewrap._PROGRAMS = ({str(false)!r},)")
    assert ended["reason"] == "not_started" and said in str(ended["message"]), ended
    assert ended["returncode"] is None and ended["signal"] is None
    assert "killed" not in str(ended["message"]) and ground.left() == set()


@pytest_sandbox
def test_a_bubblewrap_that_does_not_know_an_option(ground: Ground) -> None:
    ended = run_changed(ground, "bubblewrap._FLAGS = ('--no-such-option',)")
    assert ended["reason"] == "not_started"
    assert "Unknown option --no-such-option" in str(ended["message"])
    assert ground.left() == set() and ground.stdout() == ""


def test_the_loader_of_the_sandbox_is_not_told_by_the_job(ground: Ground) -> None:
    """LD_PRELOAD and the like in bubblewrap's environment would be code run with its rights."""
    spec = job_files.Spec(
        job_id="x",
        argv=("true",),
        cwd=str(ground.worktree),
        env={"LD_PRELOAD": "/x", "LD_LIBRARY_PATH": "/y", "AGENT_RUNNER_RECORD_DIR": "/record/job"},
        record_dir=str(ground.record),
        limits=job_files.Limits(),
    )
    environment = bubblewrap.environment(spec)
    own = os.environ.get("LD_LIBRARY_PATH")
    assert environment.pop("LD_LIBRARY_PATH", None) == own
    assert environment == {"AGENT_RUNNER_RECORD_DIR": "/record/job"}


def test_what_is_mounted_first(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_MOST_MOUNTS", 3)
    for name in ("data.txt", "experiment.py", "a.txt", "z.py"):
        (ground.worktree / name).write_text("")
    (ground.worktree / "folder").mkdir()
    (ground.worktree / "link").symlink_to("a.txt")
    spec = job_files.Spec(
        "x", ("true",), str(ground.worktree), {}, str(ground.record), job_files.Limits()
    )
    found = scratch.view(spec)
    assert found.mounted == ["folder", "experiment.py", "z.py"]
    whole = f"{ground.record}/box/worktree"
    assert found.links == {
        "link": "a.txt",
        "a.txt": f"{whole}/a.txt",
        "data.txt": f"{whole}/data.txt",
    }
    assert found.whole == whole
