"""Which models and data sets can be used on this machine now, how they get here, and what a run gets instead.

Names are found (`assets`, `named`), looked for in the cache and on the hub (`assessing`), fetched
(`downloads`), and granted (`grants`). Nothing here loads a model; `huggingface_hub` is imported when the hub is
really asked.
"""

from __future__ import annotations

from agent_runner.models.assessing import assess
from agent_runner.models.assets import Asset, template_assets
from agent_runner.models.downloads import download
from agent_runner.models.grants import ANY_OTHER, available, grant, in_words
from agent_runner.models.machine import Machine, hub_cache
from agent_runner.models.memory import available_memory
from agent_runner.models.named import named_assets

__all__ = [
    "ANY_OTHER",
    "Asset",
    "Machine",
    "assess",
    "available",
    "available_memory",
    "download",
    "grant",
    "hub_cache",
    "in_words",
    "named_assets",
    "template_assets",
]
