"""`plain_value`: what stands in a message for a value that its format does not know."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from typing import Any

__all__ = ["plain_value"]


def plain_value(value: Any) -> Any:
    """Return the plain value that stands for one that the encoder does not know.

    Raises:
        TypeError: The value cannot be encoded.
    """
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"cannot encode {type(value).__name__} {_shortened(value)}")


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001
        # A user's broken __repr__ must not hide what could not be encoded.
        return "(which has no readable repr)"
    return text if len(text) <= 80 else text[:77] + "..."
