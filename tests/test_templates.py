from __future__ import annotations

from pathlib import Path

import pytest

from agent_runner.errors import TemplateError
from agent_runner.records import Template
from agent_runner.templates import default_folder, load_template, template_files


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    return tmp_path


def test_a_folder_without_settings_is_a_template(tmp_path: Path) -> None:
    template = load_template(folder(tmp_path, experiment__py="", notes__txt="", data__csv=""))
    assert template.editable == ("experiment.py", "notes.txt")
    assert template.command == "python experiment.py --out_dir={out_dir}"
    assert template.name == tmp_path.name


def test_settings_are_read(tmp_path: Path) -> None:
    settings = """
        name = "toy"
        editable = ["experiment.py"]
        [limits]
        time_s = 5
        [resources]
        network = true
        [preflight]
        command = "python check.py"
        [[models]]
        name = "org/model"
        parameters = 10
    """
    template = load_template(folder(tmp_path, experiment__py="", template__toml=settings))
    assert (template.name, template.limits.time_s, template.resources.network) == ("toy", 5, True)
    assert template.preflight is not None
    assert template.preflight.command == "python check.py"
    assert template.models[0].name == "org/model"


def test_a_smoke_table_needs_no_command_of_its_own(tmp_path: Path) -> None:
    settings = "[smoke]\nenv = { QUICK = '1' }\n[smoke.limits]\ntime_s = 7\n"
    smoke = load_template(folder(tmp_path, experiment__py="", template__toml=settings)).smoke
    assert smoke is not None
    assert smoke.command == "python experiment.py --out_dir={out_dir}"
    assert (smoke.env, smoke.time_s) == ({"QUICK": "1"}, 7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("name = ", "not valid TOML"),
        ("[limits]\ntime_s = 'long'", "limits.time_s"),
        ("editable = ['missing.py']", "missing.py"),
        ("editable = ['../secret']", "secret"),
        ("editable = ['/etc/passwd']", "passwd"),
        ("command = 'python experiment.py'", "{out_dir}"),
    ],
)
def test_what_is_wrong_with_settings_is_named(tmp_path: Path, settings: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said.replace("{", r"\{")):
        load_template(folder(tmp_path, experiment__py="", template__toml=settings))


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("[]", r"noise\.seeds: .*0 numbers, where 1 to 20"),
        ("[0]", r"noise\.seeds\.0: .*greater than or equal to 1$"),
        ("[1, -5]", r"noise\.seeds\.1: .*greater than or equal to 1"),
        ("[3, 1, 3, 1, 2]", r"noise\.seeds: .*1, 3 given more than once"),
        ("[2147483648]", r"noise\.seeds\.0: .*less than or equal to 2147483647"),
        ("[99999999999999999999999]", r"noise\.seeds\.0: "),
        ("[true]", r"noise\.seeds\.0: .*valid integer"),
        (str(list(range(1, 22))), r"noise\.seeds: .*21 numbers, where 1 to 20"),
    ],
)
def test_seeds_that_measure_no_scatter_are_refused(tmp_path: Path, seeds: str, said: str) -> None:
    settings = f"[noise]\nseeds = {seeds}\n"
    with pytest.raises(TemplateError, match=said):
        load_template(folder(tmp_path, experiment__py="", template__toml=settings))


def test_seeds_may_be_as_many_and_as_large_as_is_said(tmp_path: Path) -> None:
    seeds = (*range(1, 20), 2**31 - 1)
    settings = f"[noise]\nseeds = {list(seeds)}\n"
    template = load_template(folder(tmp_path, experiment__py="", template__toml=settings))
    assert template.noise is not None and template.noise.seeds == seeds
    assert Template.model_validate_json(template.model_dump_json()) == template


def test_a_folder_without_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"no experiment\.py"):
        load_template(tmp_path)


def test_results_caches_and_links_are_not_part_of_a_template(tmp_path: Path) -> None:
    for name in ("run_0/final_info.json", "__pycache__/x.pyc", ".git/config", "data/run_1/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "experiment.py").write_text("")
    assert template_files(tmp_path) == ["data/run_1/x.txt", "experiment.py"]


def test_the_default_template_keeps_the_contract() -> None:
    template = load_template(default_folder())
    assert template.editable == ("experiment.py",)
    assert template.models[-1].path is not None, "the last resort needs no hub"
    assert len(template_files(default_folder())) < 100
