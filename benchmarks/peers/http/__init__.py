"""HTTP with JSON bodies: gunicorn's gevent worker, and a urllib3 pool of connections that are kept."""
