"""Log records say for which request they were written."""

import logging
from collections import defaultdict
from collections.abc import Callable
from time import time
from typing import Any

import amqp
import pytest

from amphora import AmqpRpcClient, NoResult, RemoteException, RequestLogFilter, current_request
from amphora.protocol.deadlines import deadline_header
from tests.integration.conftest import NewClient, NewServer
from tests.integration.functions import Holding
from tests.integration.original import OriginalClient, OriginalServer
from tests.support.eventually import wait_until

logger = logging.getLogger("of.a.user")


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[logging.LogRecord]]:
    """The records of a logger, as a handler with the filter sees them."""
    caplog.set_level("DEBUG")
    caplog.handler.addFilter(RequestLogFilter())
    return lambda name: [record for record in caplog.records if record.name.startswith(name)]


#: Where requests and replies are handled: all that is logged there is about one of them.
ABOUT_REQUESTS = (
    "amphora.server.request_handler",
    "amphora.server.replies",
    "amphora.client.call_tracker",
    "amphora.server.delivery_limit",
    "amphora.server.introspection",
)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], dict[str, set[str | None]]]:
    """The functions by the ids of the requests that were logged of; no record about one lacks its id."""
    caplog.set_level("DEBUG", "amphora")

    def find() -> dict[str, set[str | None]]:
        found: dict[str, set[str | None]] = defaultdict(set)
        for record in caplog.records:
            if record.name in ABOUT_REQUESTS:
                assert hasattr(record, "request_id"), f"{record.name}: {record.getMessage()}"
                found[record.request_id].add(record.__dict__["rpc_function"])
        return found

    return find


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


def test_whatever_happens_to_requests_is_logged_with_their_ids(
    new_server: NewServer,
    new_client: NewClient,
    hold: Holding,
    amqp_channel: amqp.Channel,
    service: str,
    told: Callable[[], dict[str, set[str | None]]],
) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    new_server(hold, fail, lengthen, connected=True, max_message_size=1000)
    peer, client = OriginalClient(amqp_channel, service), new_client()
    good = b'{"func": "fail", "args": [], "kwargs": {}}'

    peer.send(good, message_id="raises")
    peer.send(b"not JSON", message_id="unreadable", reply_to=None)
    peer.send(good, message_id="nobody waits", reply_to="a client that is gone")
    peer.send(good, message_id="expired", application_headers=deadline_header(time() - 60))
    peer.send(b'{"func": "lengthen", "args": [], "kwargs": {}}', message_id="too large")
    peer.send(b'{"func": "amphora.nothing", "args": [], "kwargs": {}}', "amphora.control", message_id="to all")
    with pytest.raises(NoResult):
        client.call(timeout=0.01).hold()
    hold.let_go.set()
    wait_until(lambda: client.stats()["late_replies"] == 1)
    wait_until(lambda: {"raises", "nobody waits", "too large"} <= told().keys())
    peer.send(good, message_id="raises")

    about_control: dict[str, set[str | None]] = {"to all": {None}}
    wait_until(
        lambda: (
            {each: functions for each, functions in told().items() if "-" not in each}
            == {
                # It has come again after it was finished: then nobody reads it.
                "raises": {"fail", None},
                "unreadable": {None},
                "nobody waits": {"fail"},
                "expired": {None},
                "too large": {"lengthen"},
                **about_control,
            }
        ),
        message="all is logged",
    )
    # The client's own: the reply that came too late.
    assert len([each for each in told() if "-" in each]) == 1


def lengthen() -> str:
    return "x" * 2000


def test_what_is_not_trusted_is_logged_with_its_id(
    new_server: NewServer,
    new_client: NewClient,
    amqp_channel: amqp.Channel,
    service: str,
    told: Callable[[], dict[str, set[str | None]]],
) -> None:
    client = new_client(signing_keys=["a key of sixteen bytes"])
    client.wait_connected(20)
    forger = OriginalServer(amqp_channel, service)
    result = client.defer(timeout=2).note("x")
    request = forger.request()
    forger.answer(request, b'{"result": "forged"}')
    with pytest.raises(NoResult, match="1 reply was ignored"):
        result.get()
    server = new_server(signing_keys=["a key of sixteen bytes"])

    OriginalClient(amqp_channel, service).send(b"{}", message_id="forged")
    wait_until(lambda: server.stats()["untrusted"] == 1)

    assert told() == {request.properties["message_id"]: {"note"}, "forged": {None}}
