"""What a job is given at each level of isolation: environment, streams, network, shared memory, neighbours."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from sandbox_jobs import (
    ALL,
    HELPERS,
    PYTHON,
    READY,
    SANDBOXED,
    Ground,
    end_of,
    need,
    tree_of,
    until,
)

from agent_runner.executors.local import LocalExecutor


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path / "home")


@pytest.fixture(autouse=True)
def _works(request: pytest.FixtureRequest) -> None:
    if "level" in request.fixturenames:
        need(request.getfixturevalue("level"))


@ALL
def test_the_environment_is_exactly_the_given_one(ground: Ground, level: str) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    argv = (str(PYTHON), "-I", "-S", "-c", code)
    env = {"ODD": "a=b\nc", "EMPTY": "", "LC_ALL": "C.UTF-8"}
    spec = ground.spec(level=level, env=env, argv=argv)
    assert end_of(LocalExecutor().start(spec)).returncode == 0, ground.stderr()
    assert json.loads(ground.stdout()) == spec.env


@ALL
def test_standard_streams_can_be_opened_by_name(ground: Ground, level: str) -> None:
    code = "open('/dev/stdout', 'w').write('out')\nopen('/dev/stderr', 'w').write('err')"
    assert ground.run(code, level).returncode == 0, ground.stderr()
    assert (ground.stdout(), ground.stderr()) == ("out", "err")


REACH = (
    HELPERS
    + """
import socket
address = ("127.0.0.1", int(os.environ["PORT"]))
print(json.dumps([
    errno(lambda: socket.create_connection(address, 10).close()),
    os.path.exists("/etc/resolv.conf"),
]))
"""
)


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
@pytest.mark.parametrize("granted", [False, True])
def test_the_network(ground: Ground, level: str, granted: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        failed, resolver = ground.say(
            REACH, level, env={"PORT": port}, confinement={"network": granted}
        )
    assert (failed == 0) == granted
    if level != "L1":
        assert resolver == (granted and Path("/etc/resolv.conf").exists())


@SANDBOXED
@pytest.mark.parametrize("granted", [False, True])
def test_a_loopback_of_its_own(ground: Ground, level: str, granted: bool) -> None:
    """What torch.distributed and others need that talk to themselves."""
    code = HELPERS + (
        "import socket\nname = socket.gethostname()\n"
        "server = socket.create_server((socket.gethostbyname(name), 0))\n"
        "client = socket.create_connection(('localhost', server.getsockname()[1]))\n"
        "client.sendall(b'x')\nprint(json.dumps([name, server.accept()[0].recv(1).decode()]))"
    )
    said = ground.say(code, level, confinement={"network": granted})
    assert said == ["localhost", "x"]


SHARES = (
    HELPERS
    + """
import multiprocessing as mp
from multiprocessing import shared_memory
def add(lock, name):
    memory = shared_memory.SharedMemory(name)
    with lock:
        memory.buf[0] += 1
    memory.close()
if __name__ == "__main__":
    mp.set_start_method("spawn")
    lock = mp.Lock()
    memory = shared_memory.SharedMemory(create=True, size=100)
    workers = [mp.Process(target=add, args=(lock, memory.name)) for _ in range(2)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    print(json.dumps([memory.buf[0], [worker.exitcode for worker in workers]]))
    memory.close()
    memory.unlink()
"""
)


@ALL
def test_shared_memory(ground: Ground, level: str) -> None:
    assert ground.say(SHARES, level) == [2, [0, 0]]


LOADS = """
import json, torch
torch.set_num_threads(1)
class Numbers(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, index): return torch.full((64,), float(index))
if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=2, num_workers=2)
    print(json.dumps(sum(batch.sum().item() for batch in loader)))
"""


@pytest.mark.parametrize("level", ["L2"])
def test_a_data_loader_with_workers(ground: Ground, level: str) -> None:
    pytest.importorskip("torch", reason="a machine for the server alone has no torch")
    assert ground.say(LOADS, level) == 64 * sum(range(8))


MEETS = (
    HELPERS
    + """
for folder in ("/tmp", "/dev/shm", os.environ["HOME"]):
    open(f"{folder}/mark", "x").close()
ready()
sys.stdin.read()
others = [n for n in os.listdir("/proc") if n.isdigit()]
words = [open(f"/proc/{n}/cmdline").read() for n in others]
print(len(others), any("AGENT_OTHER" in word for word in words))
time.sleep(1000)
"""
)


@SANDBOXED
def test_two_sandboxes_do_not_see_each_other(tmp_path: Path, level: str) -> None:
    grounds = [Ground(tmp_path / name) for name in ("one", "two")]
    jobs = [ground.start(MEETS, level) for ground in grounds]
    try:
        for ground in grounds:
            until(lambda ground=ground: "False" in ground.stdout())
            assert ground.stdout().splitlines() == [READY, "3 False"], ground.stderr()
        if os.geteuid() == 0:
            owners = [
                {os.stat(f"/proc/{p.pid}").st_uid for p in tree_of(ground)[-1:]}
                for ground in grounds
            ]
            assert owners[0] != owners[1] and 0 not in owners[0] | owners[1]
    finally:
        for job in jobs:
            job.cancel()
    assert [end_of(job).reason for job in jobs] == ["cancelled"] * 2


def test_landlock_cannot_hide_a_part_of_what_it_shows(ground: Ground) -> None:
    """So it refuses, where bubblewrap would put an empty folder there."""
    need("L1")
    read = (*ground.spec().confinement.read, str(ground.home.parent))
    ended = ground.run("print('ran')", "L1", confinement={"read": read})
    assert ended.reason == "not_started" and ground.stdout() == ""
    assert f"{ground.home} would be readable, since {ground.home.parent} is" in ended.message
