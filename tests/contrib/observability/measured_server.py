"""Serves with metrics; the environment says where the broker is, and where prometheus-client keeps its files."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

from amphora import AmqpRpcServer, run_servers  # noqa: E402
from amphora.contrib import multiprocess_metrics  # noqa: E402
from amphora.contrib.prometheus import Metrics  # noqa: E402

# The test need not wait for five seconds.
multiprocess_metrics._PERIOD = 0.1

server = AmqpRpcServer(os.environ["SERVICE"], broker_url=os.environ["BROKER"])
server.add_function(lambda x, y: x + y, "add")
Metrics().watch(server)
print("watched", flush=True)
run_servers(server)
