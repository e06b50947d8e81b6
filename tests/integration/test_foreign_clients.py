"""Clients of other libraries, whose replies go to queues of their own: the pattern of every AMQP tutorial."""

import json
import subprocess
import sys
from collections.abc import Callable

import amqp
import pytest

from amphora import AmqpRpcServer
from tests.integration.conftest import NewServer
from tests.integration.functions import Noting
from tests.integration.original import OriginalClient, taken
from tests.support.broker import Broker
from tests.support.eventually import wait_until

# 0.1.3 and programs of others declare classic queues, whatever the release of the broker.
pytestmark = pytest.mark.endpoints(queue_type="classic")

REQUEST = json.dumps({"func": "note", "args": ["value"], "kwargs": {}}).encode()

PIKA = """
import sys, uuid, pika

url, exchange, reply_to = sys.argv[1:]
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
if not reply_to:
    reply_to = channel.queue_declare("", exclusive=True).method.queue
for _ in range(3):
    replies, tag = [], str(uuid.uuid4())
    take = lambda _c, _m, properties, body: replies.append((properties.correlation_id, body))
    consumer = channel.basic_consume(reply_to, take, auto_ack=True)
    properties = pika.BasicProperties(reply_to=reply_to, correlation_id=tag, content_type="application/json")
    channel.basic_publish(exchange, "", REQUEST, properties)
    while not replies:
        channel.connection.process_data_events(time_limit=1)
    assert replies[0][0] == tag
    print(replies[0][1].decode(), flush=True)
    channel.basic_cancel(consumer)
"""

AIO_PIKA = """
import asyncio, sys, uuid, aio_pika


url, exchange_name, reply_to = sys.argv[1:]

async def main():
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.get_exchange(exchange_name, ensure=False)
    if reply_to:
        queue = await channel.get_queue(reply_to, ensure=False)
    else:
        queue = await channel.declare_queue(exclusive=True)
    replies = asyncio.Queue()
    await queue.consume(replies.put, no_ack=True)
    for _ in range(3):
        tag = str(uuid.uuid4())
        await exchange.publish(
            aio_pika.Message(REQUEST, reply_to=queue.name, correlation_id=tag, content_type="application/json"), ""
        )
        reply = await asyncio.wait_for(replies.get(), 20)
        assert reply.correlation_id == tag
        print(reply.body.decode(), flush=True)
    await connection.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("reply_to", ["", "amq.rabbitmq.reply-to"], ids=["own queue", "direct reply-to"])
@pytest.mark.parametrize("script", [PIKA, AIO_PIKA], ids=["pika", "aio-pika"])
def test_a_foreign_client_gets_its_replies(
    broker: Broker, service: str, server: AmqpRpcServer, note: Noting, script: str, reply_to: str
) -> None:
    program = [
        sys.executable,
        "-c",
        script.replace("REQUEST", repr(REQUEST)),
        broker.url.removesuffix("//") + "/%2F",
        f"rpc_{service}_request",
        reply_to,
    ]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"result": "value"}] * 3
    assert note.runs == ["value"] * 3
    wait_until(lambda: server.stats()["running"] == 0)
    assert server.stats()["undeliverable"] == 0


@pytest.fixture
def own_queue(amqp_channel: amqp.Channel, unique_name: Callable[[str], str]) -> str:
    return str(amqp_channel.queue_declare(unique_name("replies"), exclusive=True).queue)


def test_a_foreign_client_is_told_of_unreadable_requests_too(
    server: AmqpRpcServer, amqp_channel: amqp.Channel, service: str, own_queue: str
) -> None:
    OriginalClient(amqp_channel, service).send(b"not JSON", reply_to=own_queue)

    reply = json.loads(taken(amqp_channel, own_queue).body)

    assert reply["exception"]["type"] == "WrongRequest"


@pytest.mark.parametrize("name", ["rpc_other_service_request", "rpc_other_service_someone_response"])
def test_no_reply_goes_to_the_queue_of_another_service(
    server: AmqpRpcServer, amqp_channel: amqp.Channel, service: str, name: str
) -> None:
    queue = amqp_channel.queue_declare(f"{name}_{service}", exclusive=True).queue
    OriginalClient(amqp_channel, service).send(REQUEST, reply_to=queue)

    wait_until(lambda: server.stats()["undeliverable"] == 1)

    assert amqp_channel.basic_get(queue) is None


def test_an_untrusted_request_is_answered_in_no_queue_of_its_choice(
    new_server: NewServer, note: Noting, amqp_channel: amqp.Channel, service: str, own_queue: str
) -> None:
    server = new_server(note, connected=True, signing_keys=["k" * 16])
    OriginalClient(amqp_channel, service).send(REQUEST, reply_to=own_queue)

    wait_until(lambda: server.stats()["undeliverable"] == 1)

    assert amqp_channel.basic_get(own_queue) is None
    assert note.runs == []


def test_a_server_that_may_not_publish_to_the_default_exchange_goes_on(
    new_server: NewServer, note: Noting, broker: Broker, amqp_channel: amqp.Channel, service: str, own_queue: str
) -> None:
    user = service[:200]
    broker.add_user(user, "secret", permissions=rf"^rpc_{service}_.*$")
    server = new_server(note, broker_url=broker.url_for(user=user, password="secret"), connected=True)
    peer = OriginalClient(amqp_channel, service)
    reconnects = server.stats()["reconnects"]

    for _ in range(3):
        peer.send(REQUEST, reply_to=own_queue)
        assert peer.call("note", 1) == {"result": 1}

    wait_until(lambda: server.stats()["undeliverable"] == 3)
    assert server.stats()["reconnects"] == reconnects
