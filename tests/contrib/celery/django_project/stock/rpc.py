"""Remote functions."""

from typing import Any

from django.db import connection

# So that `runserver_rpc` serves what is added there too.
import stock.tasks  # noqa: F401
from amphora import current_request
from amphora.contrib.django import server


@server.add_function
def headers() -> dict[str, Any]:
    """Return the headers of the request."""
    request = current_request()
    return {} if request is None else dict(request.headers)


@server.add_function
def query() -> int:
    """Ask the database, on a connection that this greenlet alone has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 42")
        answer: int = cursor.fetchone()[0]
        return answer
