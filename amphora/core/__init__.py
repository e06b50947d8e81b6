"""The state machines: what happens to a message, a call, a request, a subscription and a connection.

Pure Python. Events and the time go in as method calls; what is to be done comes out through ports that each machine
is given, or as commands that it is asked for. Nothing here knows a clock, an event loop, a socket or a library, so
each machine can be tested in microseconds and run by a simulator.
"""
