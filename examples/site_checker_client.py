"""A client of examples/site_checker_server.py: several sites checked at the same time.

python examples/site_checker_client.py http://example.com http://thereisnosuchsite.invalid
"""

from gevent import monkey

monkey.patch_all()

import os
import sys

from amphora import AmqpRpcClient, RemoteException

BROKER_URL = os.environ.get("BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
SITES = sys.argv[1:] or ["http://example.com", "https://www.python.org", "http://thereisnosuchsite.invalid"]

with AmqpRpcClient("example", timeout=30, broker_url=BROKER_URL) as client:
    # All of them run at the same time.
    results = [client.defer.check_is_down(site) for site in SITES]

    print(f"{len(results)} sites are being checked; here one can do something else.")

    for result in results:
        try:
            print(result.get())
        except RemoteException as error:
            print(error)
