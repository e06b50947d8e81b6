"""A server that looks whether web sites are up, for examples/site_checker_client.py; end it with Ctrl+C.

Its function waits for the network, so one server process checks many sites at the same time.
"""

from gevent import monkey

monkey.patch_all()

import logging
import os
from urllib.error import HTTPError
from urllib.request import urlopen

from amphora import AmqpRpcServer, run_servers

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")

logging.basicConfig(level=logging.INFO, format="%(message)s")
server = AmqpRpcServer("example", broker_url=BROKER_URL)


@server.add_function
def check_is_down(site):
    # A client must not make this process open its own files (file:///etc/passwd).
    if not site.startswith(("http://", "https://")):
        raise ValueError(f"not a web address: {site}")
    try:
        urlopen(site, timeout=10).close()  # noqa: S310  (the scheme was looked at)
    except HTTPError as answer:
        return f"Site {site} is up, and answers {answer.code}"
    except OSError:
        return f"Site {site} is down"
    return f"Site {site} is up"


run_servers(server)
