"""`client.cast` and servers of 0.1.3, which acknowledge requests without a `reply_to` and do not run them."""

import json

from amphora import AmqpRpcClient
from tests.integration.original import OriginalServer, encode
from tests.support.broker import Broker
from tests.support.eventually import wait_until


def test_a_cast_has_no_reply_to(client: AmqpRpcClient, broker: Broker, service: str) -> None:
    with broker.channel() as channel:
        server = OriginalServer(channel, service)
        client.cast.add(1, y=2)

        request = server.request()

    assert "reply_to" not in request.properties
    assert json.loads(request.body) == {"func": "add", "args": [1], "kwargs": {"y": 2}}


def test_a_legacy_cast_may_be_answered_and_the_answer_is_dropped(
    client: AmqpRpcClient, broker: Broker, service: str
) -> None:
    with broker.channel() as channel:
        server = OriginalServer(channel, service)
        client.cast(legacy=True).add(1)

        request = server.request()
        assert request.properties["reply_to"]
        assert request.headers["x-amphora-cast"] is True
        server.answer(request, encode({"result": 2}))

    wait_until(lambda: client.stats()["late_replies"] == 1)
