"""A server for `amphora serve`."""

import os

import django

from amphora import AmqpRpcServer

django.setup()

from tests.contrib.databases.shelf import work  # noqa: E402

server = AmqpRpcServer(os.environ["SHELF_SERVICE"], broker_url=os.environ["SHELF_BROKER"])
server.add_function(work.backend_pid)
