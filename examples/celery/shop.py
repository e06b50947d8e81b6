"""A shop as a Celery application: questions are answered at once, letters are written later.

    celery -A shop worker -P gevent -l INFO

BROKER_URL names the broker; it is RabbitMQ on this machine otherwise.
"""

import os
import time

from celery import Celery
from celery.utils.log import get_task_logger

from amphora.contrib.celery import Amphora

app = Celery("shop", broker=os.environ.get("BROKER_URL") or "amqp://guest:guest@127.0.0.1:5672//", backend="rpc://")
app.conf.update(
    amphora_service_name="shop",
    amphora_worker=True,  # `celery worker` serves the functions too; --amphora on the command line does the same
    broker_connection_retry_on_startup=True,
    broker_heartbeat=0,  # with heartbeats, Celery's gevent worker takes ten tasks a second
)
Amphora(app)

logger = get_task_logger(__name__)

PRICES = {"apple": 30, "pear": 45, "plum": 20}
RATINGS = {"apple": [4, 5], "pear": [5], "plum": [3, 4]}


@app.amphora.server.add_function
def price(item, count=1):
    """Tell what so many of an item cost, in cents."""
    if item not in PRICES:
        raise ValueError(f"we sell no {item}, but {', '.join(PRICES)}")
    return count * PRICES[item]


@app.amphora.server.add_function
def order(customer, item, count):
    """Take an order: the customer waits for the total, and not for the letter."""
    total = price(item, count)
    write_letter.delay(customer, f"{count} x {item}: {total} cents")
    return {"item": item, "count": count, "total": total}


@app.task
def write_letter(customer, text):
    """Confirm an order, in a second or so."""
    time.sleep(1)
    logger.info("Dear %s, thank you for your order. %s", customer, text)


# Both ways: a worker runs it in the queue's turn, or at once for a caller who waits.
@app.task(amphora={"name": "stars"})
def count_stars(item):
    """Tell how many stars the customers give an item, of five."""
    given = RATINGS[item]
    return sum(given) / len(given)
