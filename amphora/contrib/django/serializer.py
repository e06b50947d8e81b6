"""JSON for the values that Django programs have."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from amphora import RpcJsonSerializer

__all__ = ["DjangoJsonSerializer"]


class DjangoJsonSerializer(RpcJsonSerializer):
    """JSON as `django.core.serializers.json.DjangoJSONEncoder` writes it, and querysets' ``values()``."""

    def dumps(self, value: Any) -> bytes:
        """Encode to JSON."""
        return json.dumps(value, cls=_Encoder).encode("ascii")


class _Encoder(DjangoJSONEncoder):
    def default(self, o: Any) -> Any:
        return list(o) if isinstance(o, QuerySet) else super().default(o)
