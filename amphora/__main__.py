"""``python -m amphora``: the `amphora` command."""

from amphora.cli.entry import main

if __name__ == "__main__":
    main()
