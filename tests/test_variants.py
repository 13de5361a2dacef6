"""The five ideas as data: complete, in our own words, and applicable to the template."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ROOT / "variants"
TEMPLATE = ROOT / "templates"
NAMES = ("lateral_inhibition", "median_mad", "parametric_contrastive", "reservoir", "self_aligning")
PROPOSALS = sorted(VARIANTS.glob("*/proposals/*.md"))
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
    """experiment.py after the blocks of a proposal, each of which must match exactly one place."""
    text = (TEMPLATE / "experiment.py").read_text(encoding="utf-8")
    blocks = BLOCK.findall(proposal.read_text(encoding="utf-8"))
    assert blocks
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
    assert set(fields) == {"title", "recording", "hypothesis", "method", "plan", "notes"}
    assert 10 < len(fields["title"]) <= 80
    assert all(len(words(fields[field])) > 25 for field in ("hypothesis", "method"))
    assert 1 < len(fields["plan"]) <= 10  # the recorded budget
    for entry in (*fields["plan"], *fields["notes"]):
        assert isinstance(entry, str) and entry.strip() == entry and entry


def test_no_sentence_is_the_recordings(seeds: Path) -> None:
    recorded = " ".join(path.read_text(encoding="utf-8") for path in sorted(seeds.glob("0*.txt")))
    assert quotations(
        "was: " + " ".join(words(recorded)[500:520]), recorded
    )  # the check itself sees one
    for name in NAMES:
        assert not quotations((VARIANTS / name / "idea.toml").read_text(encoding="utf-8"), recorded)
    for path in PROPOSALS:
        prose = FENCE.sub(" ", path.read_text(encoding="utf-8"))
        assert not quotations(prose, recorded), label(path)


@pytest.mark.parametrize("path", PROPOSALS, ids=label)
def test_a_proposal_applies_and_compiles(path: Path) -> None:
    assert (
        len(words(FENCE.sub(" ", path.read_text(encoding="utf-8")))) > 40
    )  # it says what it does, and why
    compile(edited(path), "experiment.py", "exec")


def test_proposals_use_only_the_stable_places(seeds: Path) -> None:
    blocks = json.loads((seeds / "search_blocks.json").read_text(encoding="utf-8"))
    stable = {block["search"] for block in blocks}
    for path in PROPOSALS:
        for search, _ in BLOCK.findall(path.read_text(encoding="utf-8")):
            assert search in stable, f"{label(path)}: {search}"


@pytest.mark.sae
@pytest.mark.skipif(find_spec("torch") is None, reason="needs the sae extra (torch)")
@pytest.mark.parametrize("path", PROPOSALS, ids=label)
def test_a_proposal_passes_the_preflight(path: Path, tmp_path: Path) -> None:
    """It trains on (tokens, d) in float32 and encodes (batch, tokens, d) in bfloat16, at two sizes."""
    for name in ("harness", "template.toml"):
        source = TEMPLATE / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    (tmp_path / "experiment.py").write_text(edited(path), encoding="utf-8")
    command = [sys.executable, "-m", "harness.preflight"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        "warning" not in done.stdout
    )  # also at d_sae == d_model, and with a gradient for every parameter
