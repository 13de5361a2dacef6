from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from agent_runner.models import Machine, available_memory, hub_cache
from agent_runner.models import memory as memory_module
from agent_runner.models.machine import free_disk, hub_token
from agent_runner.models.memory import free_gpu_memory


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hub_client_keeps_it(
    environment: dict[str, str], expected: str
) -> None:
    assert hub_cache(environment) == Path(expected)


def test_the_rules_are_those_of_the_installed_client(tmp_path: Path) -> None:
    """The hub's own client in another process, with the same environment."""
    (tmp_path / "token").write_text(" hf_stored\n")
    environments: list[dict[str, str]] = [
        {"HF_HOME": str(tmp_path)},
        {"HF_HOME": str(tmp_path), "HF_TOKEN": " hf_named\n"},
        {"HF_HOME": "/nowhere", "HF_TOKEN_PATH": str(tmp_path / "token")},
        {"XDG_CACHE_HOME": str(tmp_path / "x"), "HF_HUB_CACHE": "~/hub"},
        {"HF_HOME": "$BASE/home", "BASE": str(tmp_path), "HF_ENDPOINT": "http://mirror/"},
        {"HF_HOME": "/nowhere", "HF_HUB_OFFLINE": "yes"},
        {"HF_HOME": "/nowhere", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": "0"},
    ]
    theirs = (
        "import huggingface_hub as h, huggingface_hub.constants as c; "
        "print(c.HF_HUB_CACHE, c.ENDPOINT, h.get_token(), c.HF_HUB_OFFLINE)"
    )
    ours = (
        "from agent_runner.models import Machine; m = Machine.here(); "
        "print(m.hub_cache, m.endpoint, m.token, m.offline)"
    )
    for environment in environments:
        outputs = [
            subprocess.run(
                [sys.executable, "-c", code],
                env={"HOME": str(tmp_path), "PATH": "/usr/bin"} | environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for code in (theirs, ours)
        ]
        assert outputs[0] == outputs[1], environment


def test_a_token_is_not_sent_where_that_is_forbidden() -> None:
    assert hub_token({"HF_TOKEN": "hf_x", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}) is None


def test_a_machine_does_not_show_its_token_nor_a_password() -> None:
    machine = Machine(Path("/c"), None, endpoint="http://me:secret@mirror:80/hub", token="hf_x")
    assert "hf_x" not in repr(machine)
    assert machine.host == "mirror:80/hub"
    assert machine.shown_endpoint == "http://mirror:80/hub"


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(free_disk(tmp_path), rel=0.1)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_none(hidden: str) -> None:
    assert free_gpu_memory({"CUDA_VISIBLE_DEVICES": hidden}) is None


GIB = 2**30


def cgroup(folder: Path, limit: str, used: int, cache: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@pytest.mark.parametrize(
    ("kind", "line", "options", "names", "unlimited"),
    [
        ("cgroup2", "0::/box/run", "rw", V2, "max"),
        ("cgroup", "4:memory:/box/run", "rw,memory", V1, "9223372036854771712"),
    ],
)
def test_a_container_has_less_memory_than_its_machine(
    kind: str, line: str, options: str, names: tuple[str, str, str], unlimited: str, tmp_path: Path
) -> None:
    mount, process = tmp_path / "mount", tmp_path / "self"
    process.mkdir()
    (process / "cgroup").write_text(f"{line}\n")
    (process / "mountinfo").write_text(f"1 1 0:1 / {mount} rw - {kind} none {options}\n")
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 70000000 kB\nMemAvailable: 67108864 kB\n")
    cgroup(mount / "box", str(8 * GIB), 3 * GIB, GIB, names)
    cgroup(mount / "box" / "run", unlimited, GIB, 0, names)
    assert available_memory(str(process), meminfo) == 6 * GIB
    cgroup(mount / "box", unlimited, 3 * GIB, GIB, names)
    assert available_memory(str(process), meminfo) == 64 * GIB
    cgroup(mount / "box" / "run", str(GIB), 2 * GIB, 0, names)
    assert available_memory(str(process), meminfo) == 0


def test_memory_of_this_machine_and_of_one_that_says_nothing(tmp_path: Path) -> None:
    assert (available_memory() or 0) > 0
    assert available_memory(str(tmp_path), tmp_path / "meminfo") is None


class FakeNvml:
    """Two GPUs, the second emptier; `broken`: the driver does not answer."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.open = 0

    def nvmlInit(self) -> None:
        if self.broken:
            raise self.NVMLError
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> types.SimpleNamespace:
        return types.SimpleNamespace(free=(handle + 1) * 2**30)


@pytest.mark.parametrize(
    ("visible", "free"),
    [({}, 2), ({"CUDA_VISIBLE_DEVICES": "0"}, 1), ({"CUDA_VISIBLE_DEVICES": "1,0"}, 2)],
)
def test_the_emptiest_gpu_that_may_be_used(
    visible: dict[str, str], free: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(memory_module, "_DRIVERS", (str(tmp_path),))
    assert free_gpu_memory(visible) == free * 2**30
    assert nvml.open == 0


def test_a_driver_that_does_not_answer_is_no_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(broken=True))
    monkeypatch.setattr(memory_module, "_DRIVERS", (str(tmp_path),))
    assert free_gpu_memory({}) is None


def test_neither_the_hub_client_nor_torch_is_imported() -> None:
    code = (
        "import sys, agent_runner.models, agent_runner.models.fetch; "
        "print(sorted({'huggingface_hub', 'torch', 'httpx2', 'transformers', 'datasets'} "
        "& set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
