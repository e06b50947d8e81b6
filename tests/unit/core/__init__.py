"""Tests of the state machines: no broker, no clock, no event loop."""
