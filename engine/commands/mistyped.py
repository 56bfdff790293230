"""Words that make no command: what the command line library says of them, and what to write instead."""

import re

WITH_PLAN = ("run", "plan", "check")
"""Commands that take a plan, by the last word of their names."""
ONE_WORD = 'A key and its value are one word, --set exposure_s=0.3; with spaces in quotes, --set "beam=[258.3, 260.1]".'


def plain(message: str) -> str:
    """The library's message, without its names for what is raised."""
    return message.replace("Value error, ", "")


def example(epilog: str | None) -> str:
    """The example line of a command's help, empty where it has none. epilog: what its help ends with."""
    first = (epilog or "").partition("\n")[0]
    return first if first.startswith("Example: ") else ""


def remedy(command: str, message: str) -> str:
    """What was likely meant, in a sentence; empty where that is not known. command: the last word of its name."""
    extra = re.search(r"unexpected extra argument\S* \((\S+).*\)", message)
    if extra is not None and command in (*WITH_PLAN, "replay"):
        if extra[1].endswith(".toml") and command in ("run", "plan"):
            return f"A plan is named with --config {extra[1]}, devices with --devices {extra[1]}."
        return ONE_WORD if command in WITH_PLAN else "A value with its unit is one word, as 80ms."
    option = re.search(r"No such option: --([a-z][\w-]*)", message)
    if option is not None and command in WITH_PLAN:
        key = option[1].replace("-", "_")
        return f"A key of the plan is given as --set {key}=VALUE; credline plan with --keys tells which there are."
    return ""
