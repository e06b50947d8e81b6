"""Serializers: plain Python values to message bodies and back."""

from amphora.serializers.abstract import AbstractRpcSerializer, SerializerOption, make_serializer
from amphora.serializers.json import RpcJsonSerializer
from amphora.serializers.msgpack import RpcMsgpackSerializer

__all__ = ["AbstractRpcSerializer", "RpcJsonSerializer", "RpcMsgpackSerializer", "SerializerOption", "make_serializer"]
