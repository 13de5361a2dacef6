"""The five ideas as data: complete, in our own words, and applicable to the template, one after the other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agent_runner.errors import UsageError
from agent_runner.validation import check_contract, check_static
from agent_runner.variants import find_variant, load_variant, shipped_folder

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ROOT / "variants"
TEMPLATE = ROOT / "templates"
NAMES = ("lateral_inhibition", "median_mad", "parametric_contrastive", "reservoir", "self_aligning")
PROPOSALS = sorted(VARIANTS.glob("*/proposals/*.md"))
CARRIED_OUT = "parametric_contrastive"  # the one with a proposal for every line of its plan
STEPS = [path for path in PROPOSALS if path.parents[1].name == CARRIED_OUT]
COPIED = 8  # as many words in a row are a quotation

BLOCK = re.compile(
    r"^<<<<<<< SEARCH\n(.*?)^=======\n(.*?)^>>>>>>> REPLACE$", re.MULTILINE | re.DOTALL
)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def label(path: Path) -> str:
    return path.relative_to(VARIANTS).as_posix()


def idea(name: str) -> dict[str, Any]:
    return tomllib.loads((VARIANTS / name / "idea.toml").read_text(encoding="utf-8"))


def edited(proposal: Path) -> str:
    """experiment.py after a proposal and those before it; each block must match exactly one place."""
    text = (TEMPLATE / "experiment.py").read_text(encoding="utf-8")
    for number in range(1, int(proposal.stem) + 1):
        reply = proposal.with_name(f"{number}.md").read_text(encoding="utf-8")
        blocks = BLOCK.findall(reply)
        assert blocks
        assert reply.count("<<<<<<< SEARCH") == len(blocks)
        for search, replace in blocks:
            assert text.count(search) == 1, search
            text = text.replace(search, replace)
    return text


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def quotations(text: str, source: str) -> set[str]:
    """Runs of words that stand in both."""
    ours, theirs = words(text), words(source)
    known = {tuple(theirs[i : i + COPIED]) for i in range(len(theirs) - COPIED + 1)}
    runs = (tuple(ours[i : i + COPIED]) for i in range(len(ours) - COPIED + 1))
    return {" ".join(run) for run in runs if run in known}


def test_the_five_ideas_are_there() -> None:
    assert sorted(path.parent.name for path in VARIANTS.glob("*/idea.toml")) == list(NAMES)
    assert sorted({path.parents[1].name for path in PROPOSALS}) == list(NAMES)
    assert len({idea(name)["recording"] for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_idea_is_complete(name: str) -> None:
    fields = idea(name)
    required = {"title", "recording", "hypothesis", "method", "plan", "notes"}
    assert required <= set(fields) <= required | {"models"}
    assert 10 < len(fields["title"]) <= 80
    assert all(len(words(fields[field])) > 25 for field in ("hypothesis", "method"))
    assert 1 < len(fields["plan"]) <= 10  # the recorded budget
    for entry in (*fields["plan"], *fields["notes"]):
        assert isinstance(entry, str) and entry.strip() == entry and entry
    read = load_variant(find_variant(name))
    assert (read.name, read.title, list(read.plan)) == (name, fields["title"], fields["plan"])
    assert list(read.models) == fields.get("models", [])
    assert len(read.proposals) == (len(read.plan) if name == CARRIED_OUT else 1)
    assert all(line in read.text for line in read.plan)
    known = tomllib.loads((TEMPLATE / "template.toml").read_text(encoding="utf-8"))["models"]
    assert {model["name"] for model in known} >= set(read.models)


def test_no_sentence_is_the_recordings(seeds: Path) -> None:
    recorded = "\n".join(path.read_text(encoding="utf-8") for path in sorted(seeds.glob("0*.txt")))
    assert quotations(
        "was: " + " ".join(words(recorded)[500:520]), recorded
    )  # the check itself sees one
    for name in NAMES:
        assert not quotations((VARIANTS / name / "idea.toml").read_text(encoding="utf-8"), recorded)
    for path in PROPOSALS:
        reply = path.read_text(encoding="utf-8")
        assert not quotations(FENCE.sub(" ", reply), recorded), label(path)
        known = {line.strip() for line in recorded.splitlines()}  # short lines are anybody's
        for search, replace in BLOCK.findall(reply):
            added = {line.strip() for line in replace.splitlines()} - {
                line.strip() for line in search.splitlines()
            }
            same = {line for line in added & known if len(words(line)) > 4}
            assert not {line for line in same if not line.startswith("import ")}, label(path)


@pytest.mark.parametrize("path", PROPOSALS, ids=label)
def test_a_proposal_applies_and_compiles(path: Path) -> None:
    assert (
        len(words(FENCE.sub(" ", path.read_text(encoding="utf-8")))) > 40
    )  # it says what it does, and why
    compile(edited(path), "experiment.py", "exec")


def test_single_proposals_use_only_the_stable_places(seeds: Path) -> None:
    blocks = json.loads((seeds / "search_blocks.json").read_text(encoding="utf-8"))
    stable = {block["search"] for block in blocks}
    for path in set(PROPOSALS) - set(STEPS):
        for search, _ in BLOCK.findall(path.read_text(encoding="utf-8")):
            assert search in stable, f"{label(path)}: {search}"


def applied(path: Path, folder: Path) -> Path:
    """The template's harness beside experiment.py as a proposal leaves it."""
    for name in ("harness", "template.toml"):
        source = TEMPLATE / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / "experiment.py").write_text(edited(path), encoding="utf-8")
    return folder


def python(folder: Path, *arguments: str) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("path", PROPOSALS, ids=label)
def test_a_proposal_passes_the_static_checks(path: Path) -> None:
    before = (TEMPLATE / "experiment.py").read_text(encoding="utf-8")
    after = edited(path)
    harness = {
        file.relative_to(TEMPLATE).as_posix(): file.read_text(encoding="utf-8")
        for file in (TEMPLATE / "harness").glob("*.py")
    }
    problems = check_static(
        {"experiment.py": after}, base={"experiment.py": before}, modules=harness
    )
    problems += check_contract("experiment.py", before, after)
    assert not [problem for problem in problems if problem.severity == "error"]


@pytest.mark.sae
@pytest.mark.skipif(find_spec("torch") is None, reason="needs the sae extra (torch)")
@pytest.mark.parametrize("path", PROPOSALS, ids=label)
def test_a_proposal_passes_the_preflight(path: Path, tmp_path: Path) -> None:
    """It trains on (tokens, d) in float32 and encodes (batch, tokens, d) in bfloat16, at two sizes."""
    told = python(applied(path, tmp_path), "-m", "harness.preflight")
    # also at d_sae == d_model, and with a gradient for every parameter
    assert "warning" not in told


# ---------------------------------------------------------------- the one that is carried out

PROBE = """\
import json, torch
import experiment as e
from harness import seeds

torch.set_num_threads(1)  # small matrices: more would wait for each other
seeds.set_seed(0)
dims, steps = 32, 12
trainer = e.CustomTrainer(dims, 4 * dims, 0, "probe", warmup_steps=1, curriculum_steps=steps // 2)
base = torch.randn(8, dims)
said = {"theta": sorted(trainer.ae.theta), "gradients": {}, "curves": [], "numbers": []}
for step in range(steps):
    # tokens in groups, so that there are neighbourhoods to keep
    x = 5 * base[torch.arange(512) % 8] + torch.randn(512, dims)
    losses = trainer.update(step, x)
    assert losses["loss"] == losses["loss"]
    said["curves"].append(trainer.get_logging_parameters())
    with torch.no_grad():
        said["numbers"].append(int((trainer.ae.encode(x) > 0).sum(dim=-1).max()))
said["gradients"] = {name: float(theta.grad) for name, theta in trainer.ae.theta.items()}
said["shapes"] = [list(theta.shape) for theta in trainer.ae.theta.values()]
loss = trainer.loss(x)
said["loss_shape"] = list(loss.shape)

before = {name: value.clone() for name, value in trainer.ae.state_dict().items()}
with torch.no_grad():
    half = torch.randn(3, 7, dims).bfloat16()
    ae = trainer.ae.to(dtype=torch.bfloat16)
    codes = ae.encode(half)
    assert torch.equal(codes, ae.encode(half))
said["codes"] = [list(codes.shape), str(codes.dtype), bool(torch.isfinite(codes).all())]
said["most"] = int((codes > 0).sum(dim=-1).max())
said["unchanged"] = all(
    torch.equal(value.bfloat16(), ae.state_dict()[name]) for name, value in before.items()
)

# The term itself: nothing is lost by features that are the inputs, all by features that are all alike
tau = torch.tensor(0.3)
x = torch.randn(64, dims)
said["kept"] = float(e.lost_neighbours(x, x, tau, tau))
said["chance"] = float(e.lost_neighbours(x, torch.ones(64, 5), tau, tau))
# ... and it does not fall because both temperatures grow
f = torch.randn(64, dims).relu()
said["scales"] = [float(e.lost_neighbours(x, f, tau * by, tau * by)) for by in (10, 100)]
print("SAID" + json.dumps(said))
"""
TRAINED = {1: 3, 2: 1, 3: 2, 4: 3, 5: 3, 6: 0, 7: 0, 8: 0}  # how many thetas each step trains


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], dict[str, Any]]:
    """What the probe says of the code after a step; each is asked once."""

    @cache
    def probe(path: Path) -> dict[str, Any]:
        told = python(applied(path, tmp_path_factory.mktemp("probed")), "-c", PROBE)
        return dict(json.loads(told.rpartition("SAID")[2]))

    return probe


def test_every_line_of_the_plan_has_its_proposal() -> None:
    assert sorted(int(path.stem) for path in STEPS) == sorted(TRAINED)
    assert len(idea(CARRIED_OUT)["plan"]) == len(STEPS)


@pytest.mark.sae
@pytest.mark.skipif(find_spec("torch") is None, reason="needs the sae extra (torch)")
@pytest.mark.parametrize("path", STEPS, ids=label)
def test_each_step_does_what_its_plan_says(
    path: Path, probed: Callable[[Path], dict[str, Any]]
) -> None:
    said = probed(path)
    number = int(path.stem)
    assert len(said["theta"]) == TRAINED[number]
    assert all(said["gradients"][name] != 0 for name in said["theta"])
    assert said["shapes"] == [[]] * TRAINED[number] and said["loss_shape"] == []
    curves = said["curves"]
    bounds = {"tau_sel": (0.1, 0.5), "tau_pen": (0.05, 0.25), "gamma": (0.0, 0.3)}
    for name, (low, high) in bounds.items():
        values = [line[name] for line in curves]
        moved = max(values) - min(values)
        assert all(low <= value < high for value in values)
        assert (moved > 1e-3) == (name in said["theta"]), f"{name} moved by {moved}"
    allowed = [line["k"] for line in curves]
    if number <= 4:  # with the curriculum: from d_sae = 128 down to 64, and no token above it
        assert allowed == sorted(allowed, reverse=True)
        assert (allowed[0], allowed[6:]) == (128, [64] * 6)
        assert said["most"] <= 64
    else:
        assert set(allowed) == {128}
    assert all(most <= k for most, k in zip(said["numbers"], allowed, strict=True))
    assert said["codes"] == [[3, 7, 128], "torch.bfloat16", True]
    assert said["unchanged"]


@pytest.mark.sae
@pytest.mark.skipif(find_spec("torch") is None, reason="needs the sae extra (torch)")
def test_the_contrastive_term_is_well_posed(probed: Callable[[Path], dict[str, Any]]) -> None:
    said = probed(STEPS[0])
    assert said["kept"] == pytest.approx(0.0, abs=1e-5)
    assert said["chance"] == pytest.approx(1.0, abs=1e-5)
    flat, flatter = said["scales"]
    assert flatter == pytest.approx(flat, rel=0.1) and flatter > 0.1


# ---------------------------------------------------------------- reading them


def variant(folder: Path, idea: str = 'title = "A"', *numbers: int) -> Path:
    (folder / "proposals").mkdir(parents=True)
    (folder / "idea.toml").write_text(idea, encoding="utf-8")
    for number in numbers:
        (folder / "proposals" / f"{number}.md").write_text(f"reply {number}", encoding="utf-8")
    return folder


def test_replies_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = variant(tmp_path / "mine", 'title = "A"\nplan = ["one"]', *range(1, 12))
    read = load_variant(folder)
    assert read.proposals == tuple(f"reply {number}" for number in range(1, 12))
    assert (read.purpose(1), read.purpose(2), read.purpose(0)) == ("one", "", "")
    assert read.text == "Planned runs:\n\n1. one"


def test_a_variant_is_found_by_its_folder_or_its_name(tmp_path: Path) -> None:
    mine = variant(tmp_path / "mine", 'title = "A"', 1)
    assert find_variant(str(mine)) == mine
    assert find_variant("mine", shipped=tmp_path) == mine
    assert shipped_folder() == VARIANTS
    with pytest.raises(UsageError, match="is no variant") as error:
        find_variant("../variants")
    assert all(name in error.value.remedy for name in NAMES)


@pytest.mark.parametrize(
    ("idea", "numbers", "message"),
    [
        ("title = ", (1,), "not valid TOML"),
        ("", (1,), "title: Field required"),
        ('title = "A"\nplan = "one"', (1,), "plan:"),
        ('title = "A"', (), "not numbered"),
        ('title = "A"', (1, 3), "not numbered"),
    ],
)
def test_a_broken_variant_is_said_plainly(
    tmp_path: Path, idea: str, numbers: tuple[int, ...], message: str
) -> None:
    folder = variant(tmp_path / "broken", idea, *numbers)
    with pytest.raises(UsageError, match=message) as error:
        load_variant(folder)
    assert str(folder) in error.value.message and error.value.remedy
