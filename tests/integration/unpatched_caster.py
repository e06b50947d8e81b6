"""A program without gevent that casts and exits at once: URL SERVICE CASTS."""

import logging
import sys

from amphora import make_client

URL, SERVICE, CASTS = sys.argv[1:]

if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    client = make_client(SERVICE, broker_url=URL, exit_timeout=30)
    assert type(client).__name__ == "ThreadedClient"
    assert client.cast.note(-1) is None
    client.cast(wait_publish=False, routing_key="nowhere").note(-2)
    print("flushed", client.flush(30), client.flush(30))
    for number in range(int(CASTS)):
        client.cast(wait_publish=False).note(number)
