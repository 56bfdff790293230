"""Where the program `credline` begins: the command line, and one line for a Ctrl-C while that is being loaded."""

import sys


def main() -> None:
    """Entry point of the `credline` command."""
    try:
        from engine.commands.main import main as command_line
    except KeyboardInterrupt:
        sys.stderr.write("credline: interrupted before anything was begun; beam and lens are as they were.\n")
        sys.exit(130)
    command_line()
