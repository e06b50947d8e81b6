"""What log records say about requests, beside their text: for handlers that write fields, and for filters."""

from __future__ import annotations

import logging
from typing import Any

from amphora.endpoint.current_request import current_request

__all__ = ["RequestLogFilter", "request_fields"]


def request_fields(request_id: str | None, function: str | None = None) -> dict[str, Any]:
    """Return the ``extra`` of a record about a request: ``request_id`` and ``rpc_function``."""
    return {"request_id": request_id, "rpc_function": function}


class RequestLogFilter(logging.Filter):
    """Lets every record say for which request it was written: ``%(request_id)s`` and ``%(rpc_function)s``.

    ::

        handler.addFilter(RequestLogFilter())
        handler.setFormatter(logging.Formatter("%(levelname)s %(request_id)s %(message)s"))

    Records of Amphora itself that are about a request have both already, for handlers that write fields (JSON,
    structlog's ``ExtraAdder``). With the filter, those that a remote function writes have them too, and all others
    have None.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; let every record pass."""
        if not hasattr(record, "request_id"):
            request = current_request()
            record.__dict__.update(
                request_fields(None) if request is None else request_fields(request.id, request.function)
            )
        return True
