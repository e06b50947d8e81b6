"""A mixin for Django's test cases."""

from __future__ import annotations

import unittest
from typing import ClassVar

from django.conf import settings
from django.test import TestCase, TransactionTestCase, override_settings

from amphora.contrib.django.testing.services import ProjectServices, check_patched
from amphora.contrib.django.testing.settings import on_memory

__all__ = ["RpcTestMixin"]


class RpcTestMixin(unittest.TestCase):
    """Runs the project's handlers in process while a test runs; stands before Django's class.

    ::

        class OrderPageTests(RpcTestMixin, TestCase): ...

    A ``setUp`` of the class's own calls ``super().setUp()`` first. With `django.test.TestCase` and
    `django.test.SimpleTestCase`, handlers use the test's database connections. With `django.test.TransactionTestCase`
    they have connections of their own, as in production.

    Attributes:
        rpc (ProjectServices): The calls that the test makes, and ways to replace remote functions.
        rpc_wait_for_deferred (bool): Class attribute; False to let ``defer`` return before the function has run.
    """

    rpc_wait_for_deferred: ClassVar[bool] = True
    rpc: ProjectServices

    @classmethod
    def setUpClass(cls) -> None:
        """Keep the whole class away from any broker."""
        check_patched()
        cls.enterClassContext(override_settings(AMPHORA=on_memory(settings.AMPHORA)))
        super().setUpClass()

    def setUp(self) -> None:
        """Serve all aliases until the end of the test."""
        super().setUp()
        commits = isinstance(self, TransactionTestCase) and not isinstance(self, TestCase)
        self.rpc = ProjectServices(wait_for_deferred=self.rpc_wait_for_deferred, own_connections=commits)
        self.rpc.start()
        self.addCleanup(self.rpc.stop)
