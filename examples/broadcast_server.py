"""One of the screens that show announcements, for examples/broadcast_client.py; end it with Ctrl+C.

Start several: every one of them gets every announcement.

    python examples/broadcast_server.py kitchen
    python examples/broadcast_server.py office
"""

from gevent import monkey

monkey.patch_all()

import logging
import os
import sys

from amphora import AmqpRpcFanoutServer, IgnoreRequest, run_servers

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
ROOM = sys.argv[1] if len(sys.argv) > 1 else "kitchen"

logging.basicConfig(level=logging.INFO, format="%(message)s")
server = AmqpRpcFanoutServer("announcements", broker_url=BROKER_URL)


@server.add_function
def announce(text, only_room=None):
    if only_room not in (None, ROOM):
        # Not for us: no reply goes back, so that the caller gets that of another server.
        raise IgnoreRequest
    print(f"{ROOM}: {text}", flush=True)
    return ROOM


run_servers(server)
