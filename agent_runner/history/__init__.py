"""Histories that every provider accepts: one canonical form, and its renderings.

`History` is what is stored; `render` turns any raw message list into what a provider demands;
`check` looks at a payload before it is sent; `classify_refusal` names the rule a provider says was
broken; `fence_output` puts run output into a message. Pure: no clock, no randomness, no files, no
network.
"""

from __future__ import annotations

from .blocks import AssistantTurn, Call, Media, Reasoning, Result, Text, Turn, UserTurn
from .canonical import History
from .errors import HistoryError
from .fencing import fence_output
from .legality import check
from .refusals import REFUSALS, REPAIRABLE, classify_refusal
from .rendering import DIALECTS, STRICTEST, render
from .wire import FILLERS, RenderOptions

__all__ = [
    "DIALECTS",
    "FILLERS",
    "REFUSALS",
    "REPAIRABLE",
    "STRICTEST",
    "AssistantTurn",
    "Call",
    "History",
    "HistoryError",
    "Media",
    "Reasoning",
    "RenderOptions",
    "Result",
    "Text",
    "Turn",
    "UserTurn",
    "check",
    "classify_refusal",
    "fence_output",
    "render",
]
