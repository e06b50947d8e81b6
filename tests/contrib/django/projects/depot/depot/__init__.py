"""A project that is served by `manage.py runserver_rpc` in tests; its environment says how."""
