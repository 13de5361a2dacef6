from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.models import Asset, named_assets, template_assets
from agent_runner.records import ModelSpec

GEMMA, PYTHIA = "google/gemma-2-2b", "EleutherAI/pythia-70m-deduped"
MODEL, DATA = ("model", GEMMA), ("dataset", "org/texts")

CASES = {
    # calls
    f'AutoModel.from_pretrained("{GEMMA}")': [MODEL],
    f'AutoModel.from_pretrained(pretrained_model_name_or_path="{GEMMA}")': [MODEL],
    f'from_pretrained("{GEMMA}", dtype="bfloat16")': [MODEL],
    f'HookedTransformer.from_pretrained("{GEMMA}")': [MODEL],
    f'tl.HookedTransformer.from_pretrained_no_processing("{GEMMA}")': [MODEL],
    f'LanguageModel("{GEMMA}", device_map="cpu")': [MODEL],
    f'nnsight.LanguageModel("{GEMMA}")': [MODEL],
    f'models.grant("{GEMMA}", MODEL_CONFIGS)': [MODEL],
    f'budget.grant("{GEMMA}")': [],
    'load_dataset("org/texts", split="train")': [DATA],
    'datasets.load_dataset(path="org/texts")': [DATA],
    'load_dataset("imdb")': [("dataset", "imdb")],
    'load_dataset("json", data_files="a.json")': [],
    'load_dataset("parquet")': [],
    f'snapshot_download("{GEMMA}")': [MODEL],
    'snapshot_download("org/texts", repo_type="dataset")': [DATA],
    'hf_hub_download(repo_id="org/texts", filename="a.parquet", repo_type="dataset")': [DATA],
    f'hf_hub_download("{GEMMA}", "config.json")': [MODEL],
    'AutoModel.from_pretrained("gpt2")': [("model", "gpt2")],
    'HookedTransformer.from_pretrained("pythia-70m-deduped")': [],
    f'run(model_name="{GEMMA}")': [MODEL],
    f'parser.add_argument("--model-name", default="{GEMMA}")': [MODEL],
    'parser.add_argument("--out_dir", default="runs/one")': [],
    # assignments and parameters
    f'model_name = "{GEMMA}"': [MODEL],
    f'MODEL_ID: str = "{GEMMA}"': [MODEL],
    f'lm_name = model = "{GEMMA}"': [MODEL],
    f'self.lm_name = "{GEMMA}"': [MODEL],
    f'base_model_name, n = "{GEMMA}", 3': [MODEL],
    'dataset_name = "org/texts"': [DATA],
    'corpus_name = "org/texts"': [DATA],
    f'def f(x, model_name="{GEMMA}"): pass': [MODEL],
    f'def f(*, lm_name: str = "{GEMMA}", n): pass': [MODEL],
    f'async def f(model_id="{GEMMA}", /): pass': [MODEL],
    f'f = lambda model_id="{GEMMA}": 0': [MODEL],
    f'if (model_name := "{GEMMA}"): pass': [MODEL],
    f'config = {{"model_name": "{GEMMA}", "other": "a/b"}}': [MODEL],
    f'model_names = ["{GEMMA}"]': [],
    'model_path = "results/best"': [],
    f'model_name_or_path = "{GEMMA}"': [MODEL],
    f'llm_id = "{GEMMA}"': [MODEL],
    f'title = "{GEMMA}"': [],
    # tables
    f'MODEL_CONFIGS = {{"{GEMMA}": {{"batch_size": 32}}}}': [MODEL],
    f'LLM_MODEL_CONFIG = {{"{GEMMA}": 1, "{PYTHIA}": 2}}': [MODEL, ("model", PYTHIA)],
    f'OTHER = {{"{GEMMA}": 1}}': [],
    # constants
    f'NAME = "{GEMMA}"\nAutoModel.from_pretrained(NAME)': [MODEL],
    f'class C:\n    NAME = "{GEMMA}"\nAutoModel.from_pretrained(C.NAME)': [MODEL],
    'OWNER = "google"\nmodel_name = f"{OWNER}/gemma-2-2b"': [MODEL],
    'model_name = "google/" + "gemma-2-2b"': [MODEL],
    f'model_name = "{GEMMA}" if big else "{PYTHIA}"': [MODEL, ("model", PYTHIA)],
    f'model_name = asked or "{GEMMA}"': [MODEL],
    'SIZE = "2b"\nSIZE = "9b"\nmodel_name = f"google/gemma-2-{SIZE}"': [],
    'model_name = f"google/gemma-2-{size}"': [],
    'model_name = "google/gemma-{}".format(size)': [],
    "a = b\nb = a\nmodel_name = a": [],
    # no names of a repository
    'model_name = "embedded"': [],
    'model_name = "./local/model"': [],
    'model_name = "/abs/model"': [],
    'model_name = "a/b/c"': [],
    'model_name = "results/best.pt"': [],
    'model_name = "https://host/x"': [],
    'model_name = "with space/x"': [],
    'model_name = "a--b/c"': [],
    "model_name = 3": [],
    'model_name = b"a/b"': [],
    # comments and strings are not code
    f"# model_name = {GEMMA!r}": [],
    f'"""model_name = \'{GEMMA}\'"""': [],
    # files with errors give nothing
    f'model_name = "{GEMMA}"\ndef f(:': [],
    "\0": [],
    "(" * 5000: [],
}


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:60])
def test_what_a_file_names(text: str) -> None:
    found = named_assets({"experiment.py": text})
    assert [(asset.kind, asset.name) for asset in found] == CASES[text]


def test_file_and_line() -> None:
    text = f'import os\n\nmodel_name = "{GEMMA}"\nload_dataset(\n    "org/texts"\n)\n'
    assert named_assets({"experiment.py": text, "b.py": 'model_id = "a/b"'}) == (
        Asset("model", GEMMA, "experiment.py", 3),
        Asset("dataset", "org/texts", "experiment.py", 5),
        Asset("model", "a/b", "b.py", 1),
    )


def test_an_error_in_one_file_hides_no_other() -> None:
    found = named_assets({"a.py": "def", "b.py": f'model_name = "{GEMMA}"'})
    assert [asset.file for asset in found] == ["b.py"]


def test_names_that_double_in_each_line_are_given_up() -> None:
    lines = ['x0 = "a/b"'] + [f"x{n} = [x{n - 1}] * 2 + [x{n - 1}]" for n in range(1, 40)]
    doubled = [f"y{n} = [y{n - 1}, y{n - 1}, y{n - 1}, y{n - 1}, y{n - 1}]" for n in range(1, 40)]
    text = "\n".join([*lines, 'y0 = "a/b"', *doubled, "model_name = y39"])
    assert named_assets({"experiment.py": text}) == ()


@given(st.text(max_size=200))
def test_no_text_raises(text: str) -> None:
    named_assets({"experiment.py": text, "b.py": f"model_name = {text!r}"})


def test_the_shipped_experiment(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "templates" / "experiment.py").read_text()
    found = {(asset.kind, asset.name) for asset in named_assets({"experiment.py": text})}
    assert ("model", GEMMA) in found
    assert {kind for kind, _ in found} == {"model"}


def test_what_a_template_names() -> None:
    specs = [
        ModelSpec(
            name=GEMMA,
            corpus="org/texts",
            datasets=(
                "LabHC/bias_in_bios_class_set1",
                "LabHC/bias_in_bios_class_set2",
                "canrager/amazon_reviews_mcauley_1and5",
                "canrager/amazon_reviews_mcauley_1and5_sentiment",
            ),
        ),
        ModelSpec(name=PYTHIA, corpus="org/texts", datasets=("org/tweets_sentiment", "imdb")),
        ModelSpec(name="embedded", path="model", corpus="embedded/c.gz", datasets="embedded/data"),
    ]
    assert template_assets(specs) == (
        Asset("model", GEMMA),
        Asset("model", PYTHIA),
        Asset("model", "embedded"),
        Asset("dataset", "org/texts"),
        Asset("dataset", "LabHC/bias_in_bios"),
        Asset("dataset", "canrager/amazon_reviews_mcauley_1and5"),
        Asset("dataset", "org/tweets_sentiment"),
    )
