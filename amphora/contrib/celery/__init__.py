"""Calls that answer fast beside Celery's tasks that run later: ``app.amphora``.

::

    from celery import Celery
    from amphora.contrib.celery import Amphora

    app = Celery("shop", broker="amqp://...")
    app.conf.amphora_service_name = "shop"
    Amphora(app)

    @app.amphora.server.add_function
    def price(item): ...

    app.amphora.client.call.price("apple")

See docs/celery.md and docs/celery-settings.md.
"""

from amphora.contrib.celery.attach import Amphora, setup
from amphora.contrib.celery.inline import RetryRefused

__all__ = ["Amphora", "RetryRefused", "setup"]
