"""`ClientStandIn`: stands for a client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from amphora import AmqpRpcClient, PrettyCaller
from amphora.contrib.stand_ins.stand_in import StandIn

__all__ = ["ClientStandIn"]

Function = TypeVar("Function", bound=Callable[..., Any])


class ClientStandIn(StandIn[AmqpRpcClient]):
    """Stands for a client, and remembers its tuning functions and middleware for those that are made later."""

    _like = AmqpRpcClient

    def __init__(self) -> None:
        super().__init__()
        self._tunings: list[tuple[str, Any]] = []

    @property
    def call(self) -> PrettyCaller:
        """Call a remote function and wait for its result; see `amphora.AmqpRpcClient.call`."""
        return self._per_process.get().call

    @property
    def defer(self) -> PrettyCaller:
        """Call a remote function without waiting for its result; see `amphora.AmqpRpcClient.defer`."""
        return self._per_process.get().defer

    @property
    def cast(self) -> PrettyCaller:
        """Have a remote function run, without a reply; see `amphora.AmqpRpcClient.cast`."""
        return self._per_process.get().cast

    def tune_function(self, func_name: str) -> Callable[[Function], Function]:
        """Choose the routing key of a remote function's calls; see `amphora.AmqpRpcClient.tune_function`."""

        def decorate(tuning: Function) -> Function:
            self._tunings.append((func_name, tuning))
            if (real := self._made) is not None:
                real.tune_function(func_name)(tuning)
            return tuning

        return decorate

    def _make_prepared(self) -> AmqpRpcClient:
        client = super()._make_prepared()
        for name, tuning in self._tunings:
            client.tune_function(name)(tuning)
        return client
