"""The settings that oslo.messaging's client and server share."""

from __future__ import annotations

import logging

import oslo_messaging
from oslo_config import cfg

TOPIC = "bench_oslo"
CONCURRENCY = 100


def transport(broker_url: str) -> oslo_messaging.Transport:
    logging.disable(logging.WARNING)
    conf = cfg.CONF  # its tracing and metrics look for their options nowhere else
    conf([])
    url = "rabbit" + broker_url.removeprefix("amqp").rstrip("/") + "/"
    made = oslo_messaging.get_rpc_transport(conf, url=url)
    conf.set_override("amqp_durable_queues", True, group="oslo_messaging_rabbit")
    conf.set_override("rpc_conn_pool_size", CONCURRENCY, group="oslo_messaging_rabbit")
    conf.set_override("rabbit_qos_prefetch_count", CONCURRENCY, group="oslo_messaging_rabbit")
    return made
