"""How the servers of this peer serve: they say so to whoever has started them."""

from amphora import AmqpRpcServer, Serving


def serve(server: AmqpRpcServer) -> None:
    """Serve until the process is ended; a line ``ready`` says that it has begun."""
    serving = Serving(on_ready=lambda: print("ready", flush=True))
    serving.add(server)
    serving.run()
