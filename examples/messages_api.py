"""An "API" server: holds its users' long polls, and shows them the messages that "Core" sends.

Any number of them may run, and a user may poll at any of them:

    python examples/messages_api.py 8001
    python examples/messages_api.py 8002
    curl http://127.0.0.1:8002/Alice

The poll ends with Alice's next message, or after ten seconds without one. Send her some with
examples/messages_core.py, which does not know at which server she is.
"""

from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import sys
from collections import defaultdict, deque
from contextlib import suppress

import gevent
from gevent.pywsgi import WSGIServer

from amphora import AmqpRpcServer, run_servers

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8001

logging.basicConfig(level=logging.INFO, format="%(message)s")
server = AmqpRpcServer("messages", broker_url=BROKER_URL)
inboxes = defaultdict(deque)


@server.add_function
def show_message(username, message):
    inboxes[username].append(message)
    return f"API server {PORT}"


def next_message(username):
    """Wait for one request from the queue of this user, which `show_message` handles."""
    with suppress(gevent.Timeout):
        server.receive_from_queue(username, max_calls=1, timeout=10)
    inbox = inboxes.pop(username, None)
    return " ".join(inbox) if inbox else None


def application(environ, start_response):
    # A real program takes the name from the user's session.
    username = environ["PATH_INFO"].strip("/")
    if not username.isalnum():
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Poll at /NAME, such as /Alice\n"]
    answer = {"ok": True, "message": next_message(username)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode() + b"\n"]


web_server = WSGIServer(("127.0.0.1", PORT), application, log=None)
web_server.start()
print(f"API server {PORT}: users poll at http://127.0.0.1:{web_server.server_port}/NAME", flush=True)
run_servers(server)
