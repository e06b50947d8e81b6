"""Announces something on all screens (examples/broadcast_server.py), or in one room only.

python examples/broadcast_client.py "Lunch is ready!"
python examples/broadcast_client.py "The kettle boils." kitchen
"""

from gevent import monkey

monkey.patch_all()

import os
import sys

from amphora import AmqpRpcFanoutClient, NoResult, Unroutable

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
TEXT = sys.argv[1] if len(sys.argv) > 1 else "Lunch is ready!"
ONLY_ROOM = sys.argv[2] if len(sys.argv) > 2 else None

with AmqpRpcFanoutClient("announcements", timeout=10, broker_url=BROKER_URL) as client:
    try:
        # Every server runs it; of their replies, the first comes back.
        print("First to show it:", client.call.announce(TEXT, only_room=ONLY_ROOM))
    except Unroutable:
        print("There is no screen: start some with examples/broadcast_server.py")
    except NoResult as error:
        print("No screen has shown it:", error)
