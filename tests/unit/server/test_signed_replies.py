"""Signatures of a server's replies: with the version of the request, however often a reply is sent."""

from typing import Any
from unittest.mock import Mock

import pytest

from amphora.core.finished import Reply
from amphora.core.messages import OutgoingMessage
from amphora.driver.incoming_message import IncomingMessage
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.serializers import RpcJsonSerializer
from amphora.server.replies import Replies
from amphora.server.served_request import ServedRequest


@pytest.fixture
def sent() -> list[OutgoingMessage]:
    return []


@pytest.fixture
def replies(sent: list[OutgoingMessage]) -> Replies:
    return Replies(
        "server",
        names=Names("shop"),
        codec=Codec(RpcJsonSerializer()),
        publisher=Mock(publish_now=sent.append),
        send_tracebacks=False,
        signatures=Signatures([b"a key of sixteen"], service="shop"),
        served=Mock(),
    )


def job_of(version: int) -> ServedRequest:
    job = ServedRequest(IncomingMessage(None, 1, False, {"message_id": "1", "reply_to": "c"}, b"{}"), None)
    job.version = version
    job.reply = Reply("application/json", b'{"result": 1}')
    return job


@pytest.mark.parametrize(("version", "header"), [(1, "x-amphora-signature"), (2, "x-amphora-signature-2")])
def test_a_reply_that_is_sent_again_is_signed_as_before(
    replies: Replies, sent: list[OutgoingMessage], version: int, header: str
) -> None:
    job = job_of(version)

    replies.send(job)
    # What is left of the delivery of a duplicate.
    job.delivery.body, job.delivery.properties = b"", {}
    replies.send(job)

    first, second = (each.properties["headers"] for each in sent)
    assert first == second
    assert list(first) == [header]


def test_the_refusal_of_an_untrusted_request_is_not_signed(replies: Replies, sent: list[Any]) -> None:
    job = job_of(2)
    job.untrusted = True

    replies.send(job)

    assert "headers" not in sent[0].properties
