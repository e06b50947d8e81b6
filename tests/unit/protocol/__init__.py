"""Tests of the protocol: requests, replies, names and functions, without any I/O."""
