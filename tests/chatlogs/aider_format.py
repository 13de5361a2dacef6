"""Writes turns the way aider writes its chat history, so that reading can be held against writing."""

from __future__ import annotations

SESSION = "\n# aider chat started at 2024-12-24 18:30:00\n\n"


def user(text: str) -> str:
    return "\n#### " + "  \n#### ".join(text.split("\n")) + "  \n"


def tool(*messages: str) -> str:
    return "".join(f"> {message}  \n" for message in messages)


def reply(text: str) -> str:
    return f"\n{text}\n\n"


TASK = (
    "Your goal is to implement the following idea: A title.\n"
    "The proposed experiment is as follows: try it.\n\n"
    "You are given a total of up to 5 runs to complete the necessary experiments."
)
USAGE = "Tokens: 1.2k sent, 34 received. Cost: $0.01 message, $0.02 session."
