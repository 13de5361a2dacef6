"""What is found of NVIDIA's GPUs, and when one counts as free again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_nvml import DRIVER_NOT_LOADED, GIB, NO_PERMISSION, NOT_FOUND, Board, FakeNvml, Process

from agent_runner.leases import health, nvml
from agent_runner.leases.gpus import Gpu, discover, survey

MIG_MINORS = """config 1
monitor 2
gpu0/gi0/access 3
gpu0/gi1/access 12
gpu0/gi1/ci0/access 13
gpu0/gi2/access 21
gpu0/gi2/ci0/access 22
"""


def boards() -> FakeNvml:
    """Two GPUs whose device files are numbered the other way round."""
    return FakeNvml(Board("GPU-aa11", minor=1), Board("GPU-ab22", minor=0, name="NVIDIA L4"))


def divided(folder: Path) -> tuple[FakeNvml, Path]:
    """A GPU with two MIG devices in three places, and a whole one."""
    parts: list[Board | None] = [
        Board("MIG-one", name="MIG 3g.71gb", instance=(1, 0), total=70 * GIB),
        None,
        Board("MIG-two", name="MIG 3g.71gb", instance=(2, 0), total=70 * GIB),
    ]
    minors = folder / "mig-minors"
    minors.write_text(MIG_MINORS)
    return FakeNvml(Board("GPU-aa11", mig=parts), Board("GPU-bb22", minor=1)), minors


class TestDiscovery:
    def test_without_the_library_there_are_no_gpus(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nvml, "installed", lambda: None)
        assert discover() == ()
        assert "nvidia-ml-py" in survey().problems[0]

    def test_without_a_driver_there_are_no_gpus_and_the_reason_is_told(self) -> None:
        fake = FakeNvml(Board("GPU-aa11"), init_fails=DRIVER_NOT_LOADED)
        assert discover(fake) == ()
        assert "Driver Not Loaded" in survey(fake).problems[0]

    def test_a_single_gpu(self) -> None:
        (gpu,) = survey(FakeNvml(Board("GPU-aa11")), environment={}).gpus
        assert (gpu.index, gpu.uuid, gpu.name) == (0, "GPU-aa11", "NVIDIA H200")
        assert gpu.total_memory_bytes == 140 * GIB
        assert gpu.devices[:3] == ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")

    def test_the_device_file_is_named_by_minor_number_not_by_index(self) -> None:
        first, second = survey(boards(), environment={}).gpus
        assert (first.index, first.devices[0]) == (0, "/dev/nvidia1")
        assert (second.index, second.devices[0]) == (1, "/dev/nvidia0")

    def test_a_lost_gpu_is_left_out_and_named(self) -> None:
        fake = boards()
        fake.boards[0].lost = True
        found = survey(fake, environment={})
        assert [gpu.uuid for gpu in found.gpus] == ["GPU-ab22"]
        assert found.problems == ("GPU 0 is left out: GPU is lost",)

    def test_a_gpu_that_may_not_be_read_is_left_out_and_named(self) -> None:
        fake = boards()
        fake.boards[1].fails["memory"] = NO_PERMISSION
        found = survey(fake, environment={})
        assert [gpu.uuid for gpu in found.gpus] == ["GPU-aa11"]
        assert "Insufficient Permissions" in found.problems[0]

    @pytest.mark.parametrize(
        ("wanted", "uuids"),
        [
            (None, ["GPU-aa11", "GPU-ab22"]),
            ("", []),
            ("-1", []),
            ("NoDevFiles", []),
            ("1", ["GPU-ab22"]),
            ("1,0", ["GPU-ab22", "GPU-aa11"]),
            (" 1 , 1 ", ["GPU-ab22"]),
            ("0,9,1", ["GPU-aa11"]),  # CUDA ignores what comes after an unknown one
            ("GPU-ab22", ["GPU-ab22"]),
            ("GPU-ab", ["GPU-ab22"]),
            ("GPU-a", []),  # the beginning of two
            ("GPU-", []),
        ],
    )
    def test_the_servers_own_visible_devices_bound_what_is_lent(
        self, monkeypatch: pytest.MonkeyPatch, wanted: str | None, uuids: list[str]
    ) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if wanted is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
        assert [gpu.uuid for gpu in discover(boards())] == uuids

    def test_a_divided_gpu_counts_as_its_mig_devices(self, tmp_path: Path) -> None:
        fake, minors = divided(tmp_path)
        first, second, whole = survey(fake, environment={}, mig_minors=minors).gpus
        assert [gpu.label for gpu in (first, second, whole)] == ["0:0", "0:2", "1"]
        assert first.total_memory_bytes == 70 * GIB
        assert {"/dev/nvidia0", "/dev/nvidiactl"} < set(first.devices)
        caps = "/dev/nvidia-caps/nvidia-cap"
        assert first.devices[-2:] == (f"{caps}12", f"{caps}13")
        assert second.devices[-2:] == (f"{caps}21", f"{caps}22")
        assert not any("caps" in path for path in whole.devices)

    @pytest.mark.parametrize(
        ("wanted", "uuids"),
        [
            ("MIG-two", ["MIG-two"]),
            ("MIG-", []),
            ("0", ["MIG-one", "MIG-two"]),
            ("GPU-aa", ["MIG-one", "MIG-two"]),
        ],
    )
    def test_mig_devices_can_be_named(self, tmp_path: Path, wanted: str, uuids: list[str]) -> None:
        fake, minors = divided(tmp_path)
        found = survey(fake, environment={"CUDA_VISIBLE_DEVICES": wanted}, mig_minors=minors)
        assert [gpu.uuid for gpu in found.gpus] == uuids

    def test_a_divided_gpu_without_parts_gives_nothing(self) -> None:
        assert survey(FakeNvml(Board("GPU-aa11", mig=[None])), environment={}).gpus == ()

    def test_device_files_that_are_not_there_are_named(self) -> None:
        gpu = Gpu(0, "GPU-x", "a GPU", GIB, (os.devnull, "/dev/nvidia-no-such"))
        assert gpu.missing_devices() == ("/dev/nvidia-no-such",)


def single(**values: object) -> tuple[FakeNvml, Gpu]:
    fake = FakeNvml(Board("GPU-aa11", **values))  # type: ignore[arg-type]
    return fake, Gpu(0, "GPU-aa11", "NVIDIA H200", 140 * GIB, ())


class TestHealth:
    def test_memory_in_use_and_its_holders(self) -> None:
        fake, gpu = single(used=[3 * GIB], processes=[Process(7, 2 * GIB), Process(8, None, "")])
        state = health.look(gpu, nvml=fake)
        assert state.used_bytes == 3 * GIB
        first, second = state.holders
        assert str(first) == "python3 (pid 7, 2.0 GiB)"
        assert str(second) == "a process (pid 8)"

    def test_as_before_is_free(self) -> None:
        fake, gpu = single(used=[GIB + health.TOLERANCE_BYTES], processes=[Process(7, GIB)])
        assert health.look(gpu, GIB, known=(7,), nvml=fake).free

    def test_memory_that_is_not_given_back_names_its_holder(self) -> None:
        fake, gpu = single(used=[5 * GIB], processes=[Process(7, 4 * GIB, "train\x1b[2J")])
        state = health.look(gpu, GIB, nvml=fake)
        assert not state.free and not state.lost
        assert state.reason == (
            "5.0 GiB of GPU 0 (NVIDIA H200) are in use, 1.0 GiB were before the run; "
            "held by train?[2J (pid 7, 4.0 GiB)"
        )

    def test_a_holder_that_was_not_there_before_is_enough(self) -> None:
        fake, gpu = single(processes=[Process(7, 1), Process(9, 1)])
        state = health.look(gpu, GIB, known=(9,), nvml=fake)
        assert not state.free
        assert "pid 7" in state.reason and "pid 9" not in state.reason

    def test_memory_without_a_holder_is_told_as_such(self) -> None:
        fake, gpu = single(used=[5 * GIB])
        assert "no process is named" in health.look(gpu, GIB, nvml=fake).reason

    @pytest.mark.parametrize("base", [None, GIB])
    def test_a_lost_gpu_is_never_free(self, base: int | None) -> None:
        fake, gpu = single(lost=True)
        state = health.look(gpu, base, nvml=fake)
        assert state.lost and "GPU is lost" in state.reason
        gone = Gpu(1, "GPU-gone", "a GPU", GIB, ())
        assert health.look(gone, base, nvml=fake).lost

    def test_without_permission_a_gpu_is_not_condemned(self) -> None:
        fake, gpu = single(fails={"memory": NO_PERMISSION})
        state = health.look(gpu, GIB, nvml=fake)
        assert state.free and state.used_bytes is None
        assert "cannot be looked at: Insufficient Permissions" in state.reason

    def test_without_permission_to_list_processes_memory_alone_decides(self) -> None:
        fake, gpu = single(used=[GIB, 5 * GIB], fails={"processes": NO_PERMISSION})
        assert health.look(gpu, GIB, nvml=fake).free
        assert not health.look(gpu, GIB, nvml=fake).free

    def test_waits_until_the_memory_is_back(self) -> None:
        fake, gpu = single(used=[5 * GIB, 3 * GIB, GIB])
        state = health.wait_until_free(gpu, GIB, 60.0, 0.001, nvml=fake)
        assert state.free and state.used_bytes == GIB

    def test_patience_has_an_end(self) -> None:
        fake, gpu = single(used=[5 * GIB])
        assert not health.wait_until_free(gpu, GIB, 0.0, nvml=fake).free

    def test_neither_a_lost_gpu_nor_a_cancelled_wait_is_waited_for(self) -> None:
        fake, gpu = single(used=[5 * GIB])
        assert not health.wait_until_free(gpu, GIB, 1e6, 1e6, stop=lambda: True, nvml=fake).free
        fake.boards[0].lost = True
        assert health.wait_until_free(gpu, GIB, 1e6, 1e6, nvml=fake).lost


def test_nvidias_own_library_has_every_function_that_is_used() -> None:
    library = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    used = [name for name in vars(nvml.Nvml) if name.lower().startswith("nvml")]
    assert len(used) == 16
    assert [name for name in used if not hasattr(library, name)] == []
    error = library.NVMLError(library.NVML_ERROR_GPU_IS_LOST)
    assert nvml.code(error) == nvml.GPU_IS_LOST and nvml.is_gone(error)
    assert (library.NVML_ERROR_NOT_FOUND, library.NVML_ERROR_RESET_REQUIRED) == (
        NOT_FOUND,
        nvml.RESET_REQUIRED,
    )
    assert library.NVML_ERROR_GPU_NOT_FOUND == nvml.GPU_NOT_FOUND


@pytest.mark.gpu
def test_a_real_gpu_is_found_and_can_be_looked_at() -> None:
    gpus = discover()
    if not gpus:
        pytest.skip("; ".join(survey().problems) or "this machine has no NVIDIA GPU")
    for gpu in gpus:
        assert gpu.uuid.startswith(("GPU-", "MIG-"))
        state = health.look(gpu)
        assert state.free, state.reason
        assert state.used_bytes is not None and 0 <= state.used_bytes <= gpu.total_memory_bytes
        known = tuple(holder.pid for holder in state.holders)
        assert health.look(gpu, state.used_bytes, known=known).free
        assert os.path.exists(gpu.devices[0])
