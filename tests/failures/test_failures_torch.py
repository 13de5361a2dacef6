"""Torch, NumPy, transformers and data-set programs, really run: all in one process, to import once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from failure_jobs import CHAIN, marked_line

from agent_runner.failures import Evidence, diagnose
from agent_runner.records import Failure, JobExit

pytest.importorskip("torch", reason="these programs need torch")

# Runs each folder's experiment.py; prints nothing; leaves what the hook and the interpreter would.
DRIVER = (
    CHAIN
    + """
import pathlib, runpy, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(1)
told = {}
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    os.chdir(folder)
    try:
        runpy.run_path(str(folder / "experiment.py"), run_name="__main__")
    except Exception as error:
        told[folder.name] = {"record": record_of(error, "MainThread"), "stderr": traceback.format_exc()}
pathlib.Path(sys.argv[2]).write_text(json.dumps(told))
"""
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong, in one line or more; the last line is the one to be found unless marked."""

    kind: str
    code: str
    says: str = ""


SHAPE, DTYPE, GRAD, NAN = (
    "shape_mismatch",
    "dtype_or_device_mismatch",
    "autograd_error",
    "non_finite_loss",
)

FAULTS: dict[str, Fault] = {
    "mm of three dimensions": Fault(SHAPE, "torch.mm(a(2, 3, 4).T, a(2, 3, 4))", "reshape(-1"),
    "mm sizes": Fault(SHAPE, "torch.mm(a(2, 3), a(2, 3))"),
    "linear": Fault(SHAPE, "torch.nn.Linear(3, 2)(a(2, 4))"),
    "add": Fault(SHAPE, "a(2, 3) + a(2, 4)"),
    "in-place statistics": Fault(SHAPE, "a(4).mul_(0.9).add_(a(2, 4))"),
    "view": Fault(SHAPE, "a(2, 3).view(4, 4)"),
    "view of a transpose": Fault(SHAPE, "a(2, 3).t().view(6)"),
    "cat": Fault(SHAPE, "torch.cat([a(2, 3), a(2, 4)], 0)"),
    "stack": Fault(SHAPE, "torch.stack([a(2), a(3)])"),
    "bmm": Fault(SHAPE, "torch.bmm(a(2, 3), a(2, 3))"),
    "dot": Fault(SHAPE, "torch.dot(a(2, 2), a(2))"),
    "matrix and vector": Fault(SHAPE, "a(2, 3) @ a(2)"),
    "batches": Fault(SHAPE, "a(2, 3, 4) @ a(2, 5, 6)"),
    "einsum": Fault(SHAPE, "torch.einsum('ij,jk->ik', a(2, 3), a(4, 5))"),
    "expand": Fault(SHAPE, "a(2, 3).expand(4, 3)"),
    "dimension": Fault(SHAPE, "a(2, 3).sum(5)"),
    "too many indices": Fault(SHAPE, "a(2)[0, 0]"),
    "mask": Fault(SHAPE, "a(2)[torch.tensor([True, False, True])]"),
    "permute": Fault(SHAPE, "a(2, 3).permute(0, 1, 2)"),
    "convolution": Fault(SHAPE, "torch.nn.Conv2d(3, 4, 3)(a(1, 2, 8, 8))"),
    "target size": Fault(
        SHAPE, "torch.nn.functional.cross_entropy(a(2, 3), torch.zeros(3).long())"
    ),
    "loading other sizes": Fault(
        SHAPE, "torch.nn.Linear(3, 2).load_state_dict(torch.nn.Linear(4, 2).state_dict())"
    ),
    "numpy broadcast": Fault(SHAPE, "np.ones(3) + np.ones(4)"),
    "numpy dot": Fault(SHAPE, "np.dot(np.ones((2, 3)), np.ones((2, 3)))"),
    "numpy matmul": Fault(SHAPE, "np.ones((2, 3)) @ np.ones((2, 3))"),
    "numpy reshape": Fault(SHAPE, "np.ones(5).reshape(2, 3)"),
    "item of many": Fault(SHAPE, "a(5).item()", "one number"),
    "truth of many": Fault(SHAPE, "bool(a(3) > 0)", "one number"),
    "vector loss": Fault(SHAPE, "a(3).requires_grad_().backward()", "scalar loss"),
    "bfloat16 to numpy": Fault(
        DTYPE, "np.percentile(a(9).bfloat16().cpu().numpy(), 90)", "no BFloat16"
    ),
    "numpy of a gradient": Fault(DTYPE, "a(2).requires_grad_().numpy()", ".detach()"),
    "two dtypes": Fault(DTYPE, "torch.mm(a(2, 3), a(3, 2).bfloat16())"),
    "dot of two dtypes": Fault(DTYPE, "a(3) @ a(3).double()"),
    "float index": Fault(DTYPE, "a(2, 3)[torch.tensor([1.5])]"),
    "result type": Fault(DTYPE, "torch.zeros(2).long().add_(1.5)"),
    "embedding of floats": Fault(DTYPE, "torch.nn.Embedding(3, 2)(a(2))"),
    "integer gradient": Fault(DTYPE, "torch.zeros(2, dtype=torch.long).requires_grad_()"),
    "quantile": Fault(DTYPE, "torch.quantile(a(2).bfloat16(), 0.5)"),
    "meta": Fault(DTYPE, "a(2, 3).to('meta').cpu()"),
    "unknown device": Fault(DTYPE, "torch.device('gpu')"),
    "no gradient": Fault(GRAD, "a(3).sum().backward()", "trainable"),
    "leaf in place": Fault(GRAD, "torch.nn.Parameter(a(2)).add_(1)", "no_grad"),
    "backward twice": Fault(
        GRAD,
        "x = a(3).requires_grad_()\nz = (x * x).sum()\nz.backward()\nz.backward()",
        "earlier step",
    ),
    "changed in place": Fault(
        GRAD,
        "x = a(3).requires_grad_()\ny = x * 2\nz = (y * y).sum()\ny.add_(1)\nz.backward()",
        "in place",
    ),
    "nothing to train": Fault(GRAD, "torch.optim.Adam([])"),
    "nan probabilities": Fault(NAN, "torch.multinomial(torch.tensor([float('nan'), 1.0]), 1)"),
    "nan in backward": Fault(
        NAN,
        "x = torch.zeros(2, requires_grad=True)\n"
        "with torch.autograd.detect_anomaly():\n    (torch.sqrt(x) * 0).sum().backward()",
    ),
    "label range": Fault(
        "index_error", "torch.nn.functional.cross_entropy(a(2, 3), torch.tensor([5, 0]))"
    ),
    "row range": Fault("index_error", "a(2, 3)[5]"),
    "embedding range": Fault("index_error", "torch.nn.Embedding(3, 2)(torch.tensor([7]))"),
    "topk": Fault("index_error", "a(3).topk(5)"),
    "huge tensor": Fault("host_out_of_memory", "torch.empty(10**13)", "batches"),
    "huge array": Fault("host_out_of_memory", "np.ones(10**13)", "batches"),
    "missing keys": Fault("state_dict_mismatch", "torch.nn.Linear(3, 2).load_state_dict({})"),
    "buffer on another module": Fault(
        "attribute_error",
        "class Trainer(torch.nn.Module): pass\nTrainer().ema_act",
        "`ema_act` is read from a Trainer",
    ),
    "tuple of max": Fault("type_error", "a(2, 3).max(dim=1) + 1"),
    "singular": Fault("value_error", "torch.linalg.inv(torch.zeros(2, 2))", "identity"),
    "checkpoint path": Fault("file_not_found", "torch.load('no/such/file.pt')"),
    "data-loader worker": Fault(
        SHAPE,
        "class Data(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i): return torch.mm(a(2, 3), a(2, 3))  # <- here\n"
        "list(torch.utils.data.DataLoader(Data(), num_workers=1))",
    ),
}

PRELUDE = "import numpy as np\nimport torch\na = torch.randn\n"


def programs(folder: Path, codes: dict[str, str]) -> None:
    for name, code in codes.items():
        place = folder / name
        place.mkdir(parents=True)
        (place / "experiment.py").write_text(code)


def drive(folder: Path, codes: dict[str, str]) -> dict[str, dict[str, Any]]:
    cases, driver, told = folder / "cases", folder / "driver.py", folder / "told.json"
    programs(cases, codes)
    driver.write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, str(driver), str(cases), str(told)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, dict[str, Any]] = json.loads(told.read_text())
    return result


def read(root: Path, told: dict[str, Any], hook: bool) -> Failure:
    evidence = Evidence(
        exit=JobExit(reason="exited", returncode=1),
        exception=told["record"] if hook else None,
        stderr=told["stderr"],
        root=str(root),
        editable=("experiment.py",),
    )
    failure = diagnose(evidence)
    assert failure is not None
    return failure


@pytest.fixture(scope="module")
def torch_cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("torch")
    return folder / "cases", drive(
        folder, {name: PRELUDE + fault.code + "\n" for name, fault in FAULTS.items()}
    )


@pytest.mark.parametrize("hook", [True, False], ids=["record", "printed"])
@pytest.mark.parametrize("name", FAULTS)
def test_kind_and_place(
    torch_cases: tuple[Path, dict[str, dict[str, Any]]], name: str, hook: bool
) -> None:
    cases, told = torch_cases
    fault = FAULTS[name]
    code = PRELUDE + fault.code
    failure = read(cases / name, told[name], hook)

    assert failure.kind == fault.kind
    assert failure.charged
    assert failure.location is not None
    assert failure.location.file == "experiment.py"
    assert failure.location.line == (marked_line(code) or len(code.split("\n")))
    assert fault.says in failure.remedy


HUB = {
    "config": (
        "network_unavailable",
        "from transformers import AutoConfig\nAutoConfig.from_pretrained('google/gemma-2-2b')\n",
    ),
    "model path": (
        "model_not_found",
        "from transformers import AutoConfig\nAutoConfig.from_pretrained('/no/such/model')\n",
    ),
    "data set": (
        "dataset_unavailable",
        "import datasets\ndatasets.load_dataset('fancyzhx/ag_news')\n",
    ),
    "data folder": (
        "dataset_unavailable",
        "import datasets\ndatasets.load_dataset('/no/such/data')\n",
    ),
}


def test_what_the_hub_libraries_say_offline(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="these programs need transformers")
    pytest.importorskip("datasets", reason="these programs need datasets")
    told = drive(tmp_path, {name: code for name, (_, code) in HUB.items()})
    for name, (kind, _) in HUB.items():
        for hook in (True, False):
            failure = read(tmp_path / "cases" / name, told[name], hook)
            assert (name, failure.kind, failure.charged) == (name, kind, False)
            assert failure.location is not None
            assert (failure.location.file, failure.location.line) == ("experiment.py", 2)


def test_no_gpu(tmp_path: Path) -> None:
    told = drive(
        tmp_path, {"cuda": "import torch\ntorch.randn(2).cuda()\n"}
    )  # none is visible there
    failure = read(tmp_path / "cases" / "cuda", told["cuda"], hook=True)
    assert failure.kind == "cuda_unavailable"
    assert ".device" in failure.remedy
