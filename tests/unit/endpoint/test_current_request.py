"""The current request: a frozen view, made of the delivery when somebody asks."""

import contextvars
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from amphora import CurrentRequest, current_request
from amphora.driver.incoming_message import IncomingMessage
from amphora.endpoint.current_request import enter_request
from amphora.protocol.deadlines import deadline_header

Inside = Callable[..., Any]


def inside(properties: dict[str, Any], ask: Callable[[], Any], *, redelivered: bool = False) -> Any:
    """Return what is answered while a request with these properties is the current one."""

    def run() -> Any:
        enter_request(IncomingMessage(None, 1, redelivered, properties, b""), "text.upper")
        return ask()

    return contextvars.copy_context().run(run)


def test_there_is_none_outside_of_a_remote_function() -> None:
    assert current_request() is None


def test_it_says_what_the_message_says() -> None:
    properties = {"message_id": "m1", "reply_to": "c1", "headers": {**deadline_header(1_800_000_000), "trace": "t1"}}

    request = inside(properties, current_request, redelivered=True)

    assert request == CurrentRequest(
        id="m1",
        client="c1",
        function="text.upper",
        deadline=1_800_000_000.0,
        redelivered=True,
        headers=properties["headers"],
    )


def test_what_a_foreign_client_leaves_out_is_none() -> None:
    request = inside({"correlation_id": "m1"}, current_request)

    assert (request.id, request.client, request.deadline, request.remaining) == ("m1", None, None, None)
    assert dict(request.headers) == {}


def test_it_cannot_be_changed() -> None:
    request = inside({"headers": {"trace": "t1"}}, current_request)

    with pytest.raises(dataclasses.FrozenInstanceError):
        request.deadline = None
    with pytest.raises(TypeError):
        request.headers["trace"] = "t2"


def test_the_remaining_time_runs_down_to_zero() -> None:
    ahead = inside({"headers": deadline_header(time.time() + 60)}, current_request)
    behind = inside({"headers": deadline_header(time.time() - 60)}, current_request)

    assert 0 < ahead.remaining <= 60.001
    assert behind.remaining == 0.0


def test_a_spawned_greenlet_has_it_only_if_the_context_is_handed_over() -> None:
    def ask() -> tuple[Any, Any]:
        alone = gevent.spawn(current_request)
        with_context = gevent.spawn(contextvars.copy_context().run, current_request)
        return alone.get(), with_context.get()

    alone, with_context = inside({"message_id": "m1"}, ask)

    assert alone is None
    assert with_context.id == "m1"
