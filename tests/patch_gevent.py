"""A pytest plug-in that lets gevent patch the standard library before anything else is imported.

`pyproject.toml` names it with `-p`: pytest imports such plug-ins before those that installed packages
bring (pytest-rabbitmq imports pika, which imports ssl and selectors), and before any conftest.py.
"""

from gevent import monkey

monkey.patch_all()
