"""Log records say for which request they were written."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from amphora import AmqpRpcClient, RemoteException, RequestLogFilter, current_request
from tests.integration.conftest import NewServer
from tests.support.eventually import wait_until

logger = logging.getLogger("of.a.user")


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[logging.LogRecord]]:
    """The records of a logger, as a handler with the filter sees them."""
    caplog.set_level("DEBUG")
    caplog.handler.addFilter(RequestLogFilter())
    return lambda name: [record for record in caplog.records if record.name.startswith(name)]


def fields(record: logging.LogRecord) -> tuple[Any, Any]:
    return record.__dict__["request_id"], record.__dict__["rpc_function"]


def test_what_a_function_logs_says_for_which_request(
    new_server: NewServer, client: AmqpRpcClient, records: Callable[[str], list[logging.LogRecord]]
) -> None:
    def note() -> str | None:
        request = current_request()
        assert request is not None
        logger.info("within")
        return request.id

    new_server(note)
    logger.info("without")

    request_id = client.call.note()

    assert [fields(record) for record in records("of.a.user")] == [(None, None), (request_id, "note")]


def test_what_amphora_logs_about_a_request_has_its_id(
    new_server: NewServer, client: AmqpRpcClient, records: Callable[[str], list[logging.LogRecord]]
) -> None:
    ids: list[str | None] = []

    def fail() -> None:
        request = current_request()
        assert request is not None
        ids.append(request.id)
        raise ValueError("on purpose")

    new_server(fail)

    with pytest.raises(RemoteException):
        client.call.fail()

    wait_until(lambda: [fields(each)[0] for each in records("amphora") if "raised" in each.getMessage()] == ids, 20)
