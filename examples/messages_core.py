"""The "Core" of the message service: sends each user two messages, wherever that user is connected.

    python examples/messages_core.py Alice Bob

The messages wait in the user's queue until the user polls at some server (examples/messages_api.py).
"""

from gevent import monkey

monkey.patch_all()

import os
import sys

from amphora import AmqpRpcClient, NoResult

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
USERS = sys.argv[1:] or ["Alice", "Bob"]
AN_HOUR = 3600 * 1000  # in milliseconds

with AmqpRpcClient("messages", timeout=60, broker_url=BROKER_URL) as client:
    sent = []

    # A queue for each user; the broker deletes one that has had no consumer for an hour.
    for user in USERS:
        client.create_new_request_queue(user, x_expires=AN_HOUR)

    # The routing key takes a request to the queue of that label...
    for user in USERS:
        message = f"Hello, {user}!"
        sent.append((message, client.defer(routing_key=user).show_message(user, message)))

    # ...and need not be given each time: a tuning function works it out of the arguments.
    @client.tune_function("show_message")
    def by_user(args, kwargs):
        return args[0] if args else kwargs["username"]

    for user in USERS:
        message = f"Goodbye, {user}!"
        sent.append((message, client.defer.show_message(username=user, message=message)))

    print(f"{len(sent)} messages are stored by the broker; waiting for the users to poll", flush=True)
    for message, result in sent:
        try:
            print(f"{message:<20} shown by {result.get()}", flush=True)
        except NoResult:
            print(f"{message:<20} not shown yet; it waits in the queue", flush=True)
