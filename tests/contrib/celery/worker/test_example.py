"""The shop of examples/celery, as its reader runs it."""

from collections.abc import Callable

from tests.conftest import StartProgram
from tests.contrib.celery.worker.conftest import START
from tests.support.broker import Broker

SHOP = "examples/celery/run.py"
SHOWN = [
    "price of 3 apples: 90",
    "prices: {'apple': 30, 'pear': 45, 'plum': 20}",
    "order: {'item': 'pear', 'count': 2, 'total': 90}",
    "stars of a plum: 3.5",
    "price of a melon: ValueError: we sell no melon, but apple, pear, plum",
    "450",
    '            "calls": 8,',
    '            "errors": 1,',
    "1 node online.",
]


def test_the_shop_answers_and_writes_its_letters(
    start_program: StartProgram, broker: Broker, unique_name: Callable[[str], str]
) -> None:
    # Its service and its queue have names that any test might use.
    vhost = unique_name("shop")
    broker.add_vhost(vhost)

    shop = start_program(SHOP, env={"BROKER_URL": broker.url_for(vhost=vhost)})

    assert shop.wait(timeout=2 * START - 10) == 0
    assert [line for line in SHOWN if line not in shop.lines] == []
    assert "Dear Alice, thank you for your order. 2 x pear: 90 cents" in shop.output
    assert "Dear Bob, thank you for your order. We have plums again." in shop.output
    assert "Traceback" not in shop.output


def test_the_shop_says_what_to_do_when_no_broker_answers(start_program: StartProgram) -> None:
    shop = start_program(SHOP, env={"BROKER_URL": "amqp://guest:a-secret-password@127.0.0.1:1//"})

    assert shop.wait(timeout=START) == 1
    assert "Is RabbitMQ running" in shop.output
    assert "a-secret-password" not in shop.output
