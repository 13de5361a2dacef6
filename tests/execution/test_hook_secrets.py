"""No value that may be a secret is in the hook's record, whatever holds it; ordinary values are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hook_program import Program

from agent_runner.execution.hook import _secrets

VALUE = "S3cr3tV4lue"
HIDDEN = _secrets.HIDDEN


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def record(program: Program, *lines: str, **env: Any) -> str:
    body = "\n".join(f"    {line}" for line in (*lines, "1 / 0"))
    program.run(f"def fail():\n{body}\n\nfail()\n", **env)
    return (program.record / "exception.json").read_text()


@pytest.mark.parametrize(
    "lines",
    [
        "headers = {'Authorization': 'Basic %s', 'X-Api-Key': '%s', 'X-Auth-Token': '%s', 'Cookie': 's=%s'}",
        "accessToken = '%s'; userPassword = '%s'; clientSecret = '%s'; passphrase = '%s'; pw = '%s'",
        "openai_key = '%s'; ssh_key = '%s'; session_id = '%s'; db_pass = '%s'",
        "pairs = [('password', '%s'), ('a', 'b')]; keyed = {('db', 'password'): '%s', b'token': '%s'}",
        "argv = ['train.py', '--api-key', '%s']; other = ['--token=%s']",
        "url = 'https://host/x?access_token=%s'; signed = 'https://host/x?X-Amz-Signature=%s'",
        "a = 'postgres://u:a/%s@host/db'; b = 'https://%s@host/x'; c = 'redis://:%s@host'",
        "text = 'PASSWORD=%s psql'; other = '{\"password\": \"%s\"}'; netrc = 'machine h password %s'",
        "secrets = ['%s']; passwords = frozenset(['%s']); auth = {'value': '%s'}; secret = slice('%s')",
        "import types; args = types.SimpleNamespace(api_key='%s')",
        "class C: pass\n    creds = C(); creds.user = '%s'\n    creds.user.gone",
        "x = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJTM2NyM3QifQ.%s'",
        "x = 'hooks.example.com/services/T0/B0/%sXy12Zw34Qr56'",
        "x = 'wJalrXUtnFEMI/K7MDENG/bPxRfiC%s'",
        "raise ValueError('Bearer %sabc')",
        "raise ValueError('cannot reach https://u:%s@host/x?token=%s')",
        "raise ValueError(dict(password='%s'))",
        "api_key = '%s'; raise ValueError",
        "error = ValueError(); error.add_note('access token: %s'); raise error",
        "exec(compile('password = \"%s\" =', 'experiment.py', 'exec'))",
        "import os; env = os.environ.copy(); few = {'MY_LICENSE_KEY': '%s'}; (env, few, 1 / 0)",
    ],
)
def test_no_secret_is_recorded(program: Program, lines: str) -> None:
    assert VALUE not in record(program, lines.replace("%s", VALUE), HOME="/x", UNKNOWN=VALUE)


def test_numbers_under_a_secret_name(program: Program) -> None:
    assert "31337" not in record(program, "password = 31337; secret = 31337.5; pins = 1")


def test_words_of_machine_learning_are_told(program: Program) -> None:
    told = record(
        program,
        "next_token = 50256; pad_token = '<pad>'; missing_key = 'encoder.weight'; sort_key = 'loss'",
        "keys = ['W_dec', 'b_dec']; tokenizer = 'gpt2'; url = 'https://huggingface.co/gpt2'; n_pass = 3",
        "name = 'EleutherAI/pythia-160m-deduped'; bypass = 'yes'; hook = 'blocks.5.hook_resid_post'",
    )
    assert HIDDEN not in told and "50256" in told and "<pad>" in told


@pytest.mark.parametrize(
    "text",
    [
        "pad_token should be set: unknown token: foo",
        "Error(s) in loading state_dict for Qwen2ForCausalLMWithPast: tokenizer=EleutherAI/pythia-70m",
        "__init__() got an unexpected keyword argument 'token'",
        "https://huggingface.co/gpt2/resolve/main/config.json",
    ],
)
def test_messages_without_a_secret_stay_as_they_are(text: str) -> None:
    assert _secrets.in_message(text) == text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "login(token=args.token, password=password)",
            "login(token=args.token, password=password)",
        ),
        ("api_key = 'abc'", f'api_key = "{HIDDEN}"'),
        ("os.environ['HF_TOKEN'] = 'abc'", f"os.environ['HF_TOKEN'] = \"{HIDDEN}\""),
        ("get('https://u:p@host')", f"get('https://{HIDDEN}@host')"),
    ],
)
def test_lines_of_code_lose_their_secret_literals_only(line: str, told: str) -> None:
    assert _secrets.in_code(line) == told


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "passw",
        "password=",
        "password ",
        "://",
        "0",
        "aA1",
        "a/A1",
        "'password",
        "_token",
        "eyJ",
    ],
)
def test_a_text_is_hidden_where_a_message_would_be_changed(piece: str) -> None:
    """Of such texts a pattern that tries again from each character would make an endless matter."""
    text = piece * (32_768 // len(piece))
    _secrets.in_code(text)
    head = text[:10_000]
    assert _secrets.is_secret_text("", text) == (_secrets.in_message(head) != head)
    assert len(_secrets.in_message(text)) <= 10 * len(text)
