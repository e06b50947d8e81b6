"""A project whose tests call RPC: docs/django-testing.md has the rest of its app `orders`."""
