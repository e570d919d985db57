"""Faults at a chosen instant of a chosen process, for tests; Python imports this by itself where it is on PYTHONPATH.

RAYPOSE_FAULTS names a file with a JSON list of rules. A rule counts the audit events named `event` whose arguments
match `match` in processes whose environment has `env`, and at the `nth` of them it acts, once in all processes
together: `marker` is the file that says so. A rule that is `slow` delays each of them, from when `after` exists until
`until` does. The product knows nothing of this.
"""

import json
import os
import re
import signal
import sys
import time
from typing import Any

SLOW_S = 0.5


def _act(rule: dict[str, Any], arguments: tuple[Any, ...]) -> None:
    try:
        os.close(os.open(rule["marker"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    match rule["act"]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill parent":
            os.kill(os.getppid(), signal.SIGKILL)
        case "terminate":
            os.kill(os.getpid(), signal.SIGTERM)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "note":
            with open(rule["marker"], "w") as file:
                file.write(str(os.getpid()))
        case "raise":
            raise OSError(*rule["error"])
        case act:
            raise ValueError(act)


def _delay(rule: dict[str, Any]) -> None:
    if os.path.exists(rule["after"]) and not os.path.exists(rule["until"]):
        os.close(os.open(rule["marker"], os.O_CREAT))
        time.sleep(SLOW_S)


def _watch(rules: list[dict[str, Any]]) -> None:
    left = [rule.get("nth", 1) for rule in rules]
    patterns = [re.compile(rule["match"]) for rule in rules]

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        for i, rule in enumerate(rules):
            if event != rule["event"] or left[i] <= 0 or not patterns[i].search(" ".join(map(str, arguments))):
                continue
            if not all(os.environ.get(key) == value for key, value in rule.get("env", {}).items()):
                continue
            if rule["act"] == "slow":
                _delay(rule)
            else:
                left[i] -= 1
                if left[i] == 0:
                    _act(rule, arguments)

    sys.addaudithook(heard)


if os.path.isfile(os.environ.get("RAYPOSE_FAULTS", "")):
    with open(os.environ["RAYPOSE_FAULTS"]) as file:
        _watch(json.load(file))
