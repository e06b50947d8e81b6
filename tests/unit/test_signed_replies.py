"""Signatures of a server's replies: with the version of the request, however often a reply is sent."""

from typing import Any
from unittest.mock import Mock

import pytest

from amphora.core.finished import Reply
from amphora.core.messages import Outgoing
from amphora.job import Job
from amphora.links.delivery import Delivery
from amphora.protocol.messages import Codec
from amphora.protocol.names import Names
from amphora.protocol.signatures import Signatures
from amphora.replies import Replies
from amphora.serializer import RpcJsonSerializer


@pytest.fixture
def sent() -> list[Outgoing]:
    return []


@pytest.fixture
def replies(sent: list[Outgoing]) -> Replies:
    return Replies(
        "server",
        names=Names("shop"),
        codec=Codec(RpcJsonSerializer()),
        publisher=Mock(publish_now=sent.append),
        send_tracebacks=False,
        signatures=Signatures([b"a key of sixteen"], service="shop"),
        served=Mock(),
    )


def job_of(version: int) -> Job:
    job = Job(Delivery(None, 1, False, {"message_id": "1", "reply_to": "c"}, b"{}"), None)
    job.version = version
    job.reply = Reply("application/json", b'{"result": 1}')
    return job


@pytest.mark.parametrize(("version", "header"), [(1, "x-amphora-signature"), (2, "x-amphora-signature-2")])
def test_a_reply_that_is_sent_again_is_signed_as_before(
    replies: Replies, sent: list[Outgoing], version: int, header: str
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
