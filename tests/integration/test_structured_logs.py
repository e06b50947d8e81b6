"""What docs/observability.md has for structured logs writes the fields of requests, with and without structlog."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from amphora import AmqpRpcClient, AmqpRpcServer, RemoteException
from tests.support.eventually import wait_until
from tests.support.processes import ROOT

BLOCKS = (ROOT / "docs" / "observability.md").read_text().split("```python\n")[1:]


def handler_of(class_name: str) -> logging.StreamHandler[io.StringIO]:
    """Run the block of the documentation that makes a handler with such a formatter."""
    names: dict[str, Any] = {}
    block = next(each for each in BLOCKS if f"handler.setFormatter({class_name}(" in each.replace("\n    ", ""))
    exec(block.partition("```")[0], names)
    handler: logging.StreamHandler[io.StringIO] = names["handler"]
    handler.setStream(io.StringIO())
    return handler


@pytest.fixture(params=["JsonFormatter", "structlog.stdlib.ProcessorFormatter"])
def written(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[Any]]]:
    """What a handler has written, decoded."""
    caplog.set_level(logging.DEBUG)
    structlog.reset_defaults()
    handler = handler_of(request.param)
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in handler.stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)
    structlog.reset_defaults()


def test_fields_of_requests_are_in_every_line_about_one(service: str, written: Callable[[], list[Any]]) -> None:
    server = AmqpRpcServer(service, broker_url="memory://")

    @server.add_function
    def fail() -> None:
        logging.getLogger("of.a.user").info("about to fail")
        if structlog.is_configured():
            structlog.get_logger("of.a.structlog.user").info("really", why="on purpose")
        raise ValueError("on purpose")

    with server, AmqpRpcClient(service, broker_url="memory://", timeout=30) as client:
        with pytest.raises(RemoteException):
            client.call.fail()
        loggers = {
            "of.a.user",
            "amphora.server.replies",
            *(["of.a.structlog.user"] if structlog.is_configured() else []),
        }
        wait_until(lambda: loggers == {each["logger"] for each in written() if each["request_id"]}, 30)

    about = [each for each in written() if each["request_id"]]
    by_logger = {each["logger"]: each for each in about}
    assert len({each["request_id"] for each in about}) == 1
    assert {each["rpc_function"] for each in about} == {"fail"}
    assert by_logger["of.a.user"]["event"] == "about to fail"
    assert "ValueError: on purpose" in by_logger["amphora.server.replies"]["exception"]
    assert by_logger.get("of.a.structlog.user", {}).get("why", "on purpose") == "on purpose"
    # And the others say that they are about none.
    (connected, *_) = (each for each in written() if "connected to memory://" in each["event"])
    assert (connected["level"], connected["request_id"], connected["rpc_function"]) == ("info", None, None)
