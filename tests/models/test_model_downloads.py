"""Fetching into the hub's cache, by a real process from a real server; what then is there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from asking import (
    DIGEST,
    GATED,
    SMALL,
    assessed,
    folder,
)
from hub_stand_in import FILES, WEIGHTS, Hub, Repository

from agent_runner.models import Machine, download
from agent_runner.models.cached import look
from agent_runner.records import Access

WANTED = {"config.json", "tokenizer.json", "model.safetensors"}


# ------------------------------------------------------------------------------ what is fetched


def test_a_model_is_fetched_verified_and_then_ready(hub: Hub, machine: Machine, memo: Path) -> None:
    said: list[tuple[str, str]] = []
    access = assessed(machine, memo)
    assert access.status == "downloadable"
    done = download(access, machine, progress=lambda label, detail: said.append((label, detail)))
    assert (done.status, done.reason, done.download_bytes) == ("ready", "", None)
    commit = hub.repositories[SMALL].commit
    snapshot = folder(machine) / "snapshots" / commit
    assert done.revision == commit
    assert (folder(machine) / "refs" / "main").read_text() == commit
    assert {path.name for path in snapshot.iterdir()} == WANTED, "no .bin, onnx or README"
    assert all((snapshot / name).read_bytes() == FILES[name] for name in WANTED)
    assert os.readlink(snapshot / "model.safetensors") == f"../../blobs/{DIGEST}"
    assert {label for label, _ in said} == {f"download {SMALL}"}
    assert said[0][1].startswith("293 KiB to fetch from 127.0.0.1")
    assert said[-2:] == [
        (f"download {SMALL}", "293 KiB of 293 KiB (model.safetensors)"),
        (f"download {SMALL}", "ready"),
    ]
    again = assessed(machine, memo)
    assert (again.status, again.revision) == ("ready", commit)


def test_what_is_fetched_is_what_the_hubs_own_client_finds(
    machine: Machine, memo: Path, tmp_path: Path
) -> None:
    """The installed client, once with the stand-in and once offline from our cache: the same files."""
    download(assessed(machine, memo), machine)
    code = (
        "import sys, huggingface_hub as h, pathlib\n"
        "wanted = ['*.json', '*.safetensors']\n"
        "path = h.snapshot_download(sys.argv[1], allow_patterns=wanted)\n"
        "print(sorted((p.relative_to(path).as_posix(), p.resolve().name) "
        "for p in pathlib.Path(path).rglob('*')))\n"
        "print(h.try_to_load_from_cache(sys.argv[1], 'config.json') is not None)"
    )
    environment = {
        "HOME": str(tmp_path),
        "NO_PROXY": "*",
        "HF_ENDPOINT": machine.endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code, SMALL],
            env=environment | chosen,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for chosen in (
            {"HF_HUB_CACHE": str(tmp_path / "theirs")},
            {"HF_HUB_CACHE": str(machine.hub_cache), "HF_HUB_OFFLINE": "1"},
        )
    ]
    assert outputs[0] == outputs[1]
    assert DIGEST in outputs[0] and "True" in outputs[0]
    theirs = dataclasses.replace(machine, hub_cache=tmp_path / "theirs")
    assert look(theirs.hub_cache, "model", SMALL).whole, "and we find theirs"


def test_the_stand_in_speaks_to_the_hubs_own_client(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import sys, huggingface_hub as h\n"
        "from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError\n"
        "api = h.HfApi()\n"
        "info = api.model_info('org/gated', files_metadata=True)\n"
        "print(info.gated, len(info.siblings), info.siblings[2].lfs.sha256)\n"
        "print(len(list(api.list_repo_tree('org/small', recursive=True))))\n"
        "for name, kind in (('org/gated', GatedRepoError), ('no/such', RepositoryNotFoundError)):\n"
        "    try: api.auth_check(name)\n"
        "    except kind as error: print(type(error).__name__)\n"
        "api.auth_check('org/gated', token='hf_member')\n"
        "print(api.dataset_info('org/texts').sha == sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, hub.repositories["org/texts"].commit],
        env={
            "HOME": str(tmp_path),
            "NO_PROXY": "*",
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"manual 6 {DIGEST}",
        "6",
        "GatedRepoError",
        "RepositoryNotFoundError",
        "True",
    ]


def test_weights_in_several_files_and_a_tokenizer_of_several(
    hub: Hub, machine: Machine, memo: Path
) -> None:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}).encode()
    wanted = {
        "config.json": b"{}",
        "generation_config.json": b"{}",
        "tokenizer.model": b"sentencepiece",
        "merges.txt": b"a b",
        "vocab.json": b"{}",
        "chat_template.jinja": b"{{ a }}",
        "model.safetensors.index.json": index,
        shards[0]: WEIGHTS,
        shards[1]: WEIGHTS[::-1],
    }
    ignored = (
        "pytorch_model-00001-of-00001.bin",
        "model.gguf",
        "tf_model.h5",
        "flax_model.msgpack",
    )
    others = {name: WEIGHTS[:20_000] for name in (*ignored, "training_args.bin", "a/b.json")}
    others |= {"pytorch_model.bin.index.json": b"{}", "trainer_state.json": b"{}"}
    hub.repositories[SMALL] = Repository(wanted | others)
    assert download(assessed(machine, memo), machine).status == "ready"
    snapshot = next((folder(machine) / "snapshots").iterdir())
    assert {path.name for path in snapshot.iterdir()} == set(wanted)
    assert assessed(machine, memo).status == "ready"


def test_older_weights_where_there_are_no_others(hub: Hub, machine: Machine, memo: Path) -> None:
    hub.repositories[SMALL] = Repository({"config.json": b"{}", "pytorch_model.bin": WEIGHTS})
    assert download(assessed(machine, memo), machine).status == "ready"


def test_a_data_set_is_fetched_with_all_its_files(hub: Hub, machine: Machine, memo: Path) -> None:
    access = assessed(machine, memo, "org/texts", "dataset")
    assert access.status == "downloadable"
    assert download(access, machine).status == "ready"
    assert assessed(machine, memo, "org/texts", "dataset").status == "ready"
    (file,) = machine.hub_cache.glob("datasets--org--texts/snapshots/*/data/train.parquet")
    assert file.read_bytes() == WEIGHTS


def test_the_token_goes_to_the_hub_only_and_into_no_command_line(
    hub: Hub, machine: Machine, memo: Path, tmp_path: Path
) -> None:
    member = dataclasses.replace(machine, token="hf_member")
    seen: list[str] = []

    def look_around(label: str, detail: str) -> None:
        seen.append(detail)
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(process.read_bytes().decode(errors="replace"))
            except OSError:
                continue

    done = download(assessed(member, memo, GATED), member, progress=look_around)
    assert done.status == "ready"
    assert hub.hosts_with_token == {"127.0.0.1"}, "not `localhost`, to which large files redirect"
    assert any("agent_runner.models.fetch" in text for text in seen)
    assert not any("hf_member" in text for text in seen)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hf_member" in path.read_bytes() for path in written)


def test_nothing_is_done_for_what_is_not_to_be_fetched(hub: Hub, machine: Machine) -> None:
    access = Access(name=SMALL, status="gated", reason="it is gated")
    assert download(access, machine) == access
    assert hub.requests == []


# ------------------------------------------------------------------------------ a real model


@pytest.mark.sae
def test_a_real_model_is_fetched_and_loaded_offline(
    hub: Hub, machine: Machine, memo: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Under its real name, then by transformers, offline, from this cache alone."""
    shipped = pytestconfig.rootpath / "templates" / "embedded" / "model"
    name = "EleutherAI/pythia-70m-deduped"
    hub.repositories[name] = Repository(
        {path.name: path.read_bytes() for path in shipped.iterdir() if path.is_file()}
    )
    assert download(assessed(machine, memo, name), machine).status == "ready"
    assert assessed(machine, memo, name).status == "ready"
    hub.requests.clear()
    code = (
        "import sys\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        "model = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
        "tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        "ids = tokenizer('def main():', return_tensors='pt').input_ids\n"
        "print(model(ids).logits.isfinite().all().item(), model.num_parameters())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        env={
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
            "HF_HUB_CACHE": str(machine.hub_cache),
            "HF_HUB_OFFLINE": "1",
            "HF_ENDPOINT": hub.url,
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True", "1841920"]
    assert hub.requests == []
    shutil.rmtree(machine.hub_cache)
