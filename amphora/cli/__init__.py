"""The `amphora` command, run by `amphora.cli.program`.

A command has two modules: its arguments are in `amphora.cli.commands`, and what it does in a module of the same name
here, which is imported when the command runs (`amphora.cli.execution`).
"""
