"""Remote functions."""

from typing import Any

# So that `runserver_rpc` serves what is added there too.
import stock.tasks  # noqa: F401
from amphora import current_request
from amphora.contrib.django import server


@server.add_function
def headers() -> dict[str, Any]:
    """Return the headers of the request."""
    request = current_request()
    return {} if request is None else dict(request.headers)
