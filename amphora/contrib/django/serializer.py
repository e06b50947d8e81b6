"""JSON for the values that Django programs have."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable
from django.utils.functional import Promise

from amphora import RpcJsonSerializer

__all__ = ["DjangoJsonSerializer"]

_OF_DJANGO = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, Promise)

_encode = DjangoJSONEncoder().default


class DjangoJsonSerializer(RpcJsonSerializer):
    """JSON with which views and functions need not convert what Django gives them; the default in Django projects.

    Takes what `django.core.serializers.json.DjangoJSONEncoder` takes, in the same shapes: ``datetime``, ``date`` and
    ``time`` as ISO 8601 text with milliseconds (``Z`` for UTC), ``timedelta`` as ISO 8601 duration, ``Decimal`` and
    ``UUID`` as text, lazy strings as text in the language that is active. Also lazy strings as keys, querysets of
    ``values()``, ``values_list()``, ``dates()`` and ``datetimes()`` as lists, and whatever else
    `amphora.RpcJsonSerializer` takes.

    Its messages are read by every service that reads JSON, whether or not it knows Django.
    """

    def dumps(self, value: Any) -> bytes:
        """Encode to JSON; see `amphora.AbstractRpcSerializer.dumps`."""
        try:
            return super().dumps(value)
        except TypeError:
            # JSON's keys pass no `default`.
            if not _has_lazy_keys(value):
                raise
        return super().dumps(_with_text_keys(value))

    def default(self, value: Any) -> Any:
        """Return the plain value that stands for one which JSON does not know."""
        if isinstance(value, _OF_DJANGO):
            return _encode(value)
        if isinstance(value, QuerySet):
            if issubclass(value._iterable_class, ModelIterable):
                raise TypeError(
                    f"cannot encode a queryset of {value.model.__name__} objects: choose their fields with "
                    "values() or values_list()"
                )
            return list(value)
        if isinstance(value, Model):
            raise TypeError(
                f"cannot encode the {type(value).__name__} object with primary key {value.pk!r}: send its key, or "
                "the fields that are needed (django.forms.models.model_to_dict gives all)"
            )
        return super().default(value)


def _has_lazy_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return any(isinstance(key, Promise) or _has_lazy_keys(inner) for key, inner in value.items())
    return isinstance(value, (list, tuple)) and any(map(_has_lazy_keys, value))


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key) if isinstance(key, Promise) else key: _with_text_keys(inner) for key, inner in value.items()}
    return list(map(_with_text_keys, value)) if isinstance(value, (list, tuple)) else value
