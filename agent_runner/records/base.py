"""The base of all records."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

SCHEMA_VERSION = 1


class Record(BaseModel):
    """Base of all records: immutable; unknown fields of a newer version are ignored when read."""

    model_config = ConfigDict(frozen=True, extra="ignore")
