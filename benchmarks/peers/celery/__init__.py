"""Celery with `-P gevent` and `rpc://` results, set up for speed as far as the guarantees allow."""
