"""The `amphora` command: one module a command, run by `amphora.cli.program`."""
