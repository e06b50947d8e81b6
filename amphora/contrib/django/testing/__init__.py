"""For the tests of Django projects: runs the project's handlers in the tests' own process, without a broker.

::

    from amphora.contrib.django.testing import RpcTestMixin
    from django.test import TestCase

    class OrderPageTests(RpcTestMixin, TestCase):
        def test_shows_the_total(self):
            page = self.client.get("/orders/42/")          # the view calls client.call.orders.total(42)

            self.assertContains(page, "420")
            self.rpc.assert_called("orders.total", 42)

docs/django-testing.md tells the rest; with pytest, the fixture ``rpc`` of the plug-in
``amphora.contrib.django.pytest_plugin`` is the same.
"""

from amphora.contrib.django.testing.case import RpcTestMixin
from amphora.contrib.django.testing.recorded import SentCall
from amphora.contrib.django.testing.services import ProjectServices

__all__ = ["ProjectServices", "RpcTestMixin", "SentCall"]
