"""Strict chat templates, rendered: what a local server does with our messages before any model sees them.

The templates are our own; each enforces one rule found in published ones. Every rule has a negative
control: a list that the template must refuse, so that a check that never fires would be noticed.
"""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from history_strategies import damaged, examples, sides
from hypothesis import given
from jinja2.sandbox import ImmutableSandboxedEnvironment

from agent_runner.history import RenderOptions, render

Message = dict[str, Any]

ALTERNATE = """
{%- for message in messages %}
  {%- if message.role not in ('user', 'assistant') %}
    {{- raise_exception('Only user and assistant roles are supported') }}
  {%- endif %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant') }}
  {%- endif %}
  {{- '<' + message.role + '>' + message.content.strip() + '</>' }}
{%- endfor %}"""

SYSTEM_THEN_ALTERNATE = """
{%- set start = 1 if messages[0].role == 'system' else 0 %}
{%- if start %}{{ '<system>' + messages[0].content + '</>' }}{% endif %}
{%- for message in messages[start:] %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) or message.role == 'system' %}
    {{- raise_exception('After the optional system message, roles must alternate') }}
  {%- endif %}
  {{- '<' + message.role + '>' + message.content + '</>' }}
{%- endfor %}"""

ALTERNATE_BUT_TOOLS = """
{%- set seen = namespace(n=0) %}
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
    {%- if (message.role == 'user') != (seen.n % 2 == 0) %}
      {{- raise_exception('roles must alternate except for tool calls and results') }}
    {%- endif %}
    {%- set seen.n = seen.n + 1 %}
  {%- endif %}
  {{- '<' + message.role + '>' + (message.content or '') + '</>' }}
{%- endfor %}"""

SYSTEM_FIRST_AND_A_USER = """
{%- set users = namespace(n=0) %}
{%- for message in messages %}
  {%- if message.role == 'system' and not loop.first %}
    {{- raise_exception('System message must be at the beginning') }}
  {%- endif %}
  {%- if message.role == 'user' %}{% set users.n = users.n + 1 %}{% endif %}
  {{- '<' + message.role + '>' + (message.content or '') + '</>' }}
{%- endfor %}
{%- if not users.n %}{{ raise_exception('No user query found') }}{% endif %}"""

ONE_CALL = """
{%- for message in messages %}
  {%- if message.tool_calls and message.tool_calls | length != 1 %}
    {{- raise_exception('This model only supports single tool-calls at once') }}
  {%- endif %}
  {{- '<' + message.role + '>' + (message.content or '') + '</>' }}
{%- endfor %}"""

TEMPLATES = {
    "alternate": ALTERNATE,
    "system_then_alternate": SYSTEM_THEN_ALTERNATE,
    "alternate_but_tools": ALTERNATE_BUT_TOOLS,
    "system_first_and_a_user": SYSTEM_FIRST_AND_A_USER,
    "one_call": ONE_CALL,
}
USES = [
    ("alternate", "gemma-template", None),
    ("system_then_alternate", "gemma-template", None),
    ("system_then_alternate", "deepseek-reasoner", None),
    ("alternate_but_tools", "mistral", None),
    ("system_first_and_a_user", "openai", None),
    ("system_first_and_a_user", "deepseek-v4", None),
    ("one_call", "openai", RenderOptions(single_calls=True)),
]


class Refused(Exception):
    pass


def template(name: str) -> jinja2.Template:
    def raise_exception(message: str) -> None:
        raise Refused(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(TEMPLATES[name])


@pytest.mark.parametrize(("name", "dialect", "options"), USES)
@examples(80)
@given(messages=damaged())
def test_strict_templates_take_every_history(
    name: str, dialect: str, options: RenderOptions | None, messages: list[Message]
) -> None:
    payload = render(messages, dialect, options)
    text = template(name).render(messages=payload["messages"])
    for _, said in sides(payload):
        assert said.strip() in text
    assert ">None</" not in text


USER, REPLY = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
SYSTEM, TOOL = {"role": "system", "content": "s"}, {"role": "tool", "content": "r"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
REFUSED = [
    ("alternate", [USER, USER]),
    ("alternate", [SYSTEM, USER]),
    ("alternate", [REPLY, USER]),
    ("alternate", [USER, REPLY, REPLY]),
    ("system_then_alternate", [SYSTEM, USER, USER]),
    ("system_then_alternate", [USER, REPLY, SYSTEM]),
    ("system_then_alternate", [SYSTEM, REPLY]),
    ("alternate_but_tools", [USER, CALLING, TOOL, USER]),
    ("alternate_but_tools", [USER, USER]),
    ("system_first_and_a_user", [USER, SYSTEM]),
    ("system_first_and_a_user", [SYSTEM, REPLY]),
    ("one_call", [USER, {**CALLING, "tool_calls": [CALL, CALL]}]),
]


@pytest.mark.parametrize(("name", "messages"), REFUSED)
def test_each_template_refuses_what_it_should(name: str, messages: list[Message]) -> None:
    with pytest.raises(Refused):
        template(name).render(messages=messages)


def test_every_template_has_a_negative_control() -> None:
    assert {name for name, _ in REFUSED} == set(TEMPLATES) == {name for name, _, _ in USES}


@pytest.mark.parametrize("name", ["alternate", "system_then_alternate"])
def test_null_content_breaks_templates_that_have_no_tools(name: str) -> None:
    with pytest.raises((jinja2.UndefinedError, TypeError)):
        template(name).render(messages=[USER, {"role": "assistant", "content": None}])


def test_what_was_refused_is_taken_once_rendered() -> None:
    for name, messages in REFUSED:
        for used, dialect, options in USES:
            if used == name:
                assert template(name).render(
                    messages=render(messages, dialect, options)["messages"]
                )
