"""Ray Tune's trial function. Runs in: a trial's own light process, which imports nothing but this and Tune for it."""

from typing import Any

import ray
from ray import tune


def relay(config: dict[str, Any]) -> None:
    """One Tune trial: give the job to a lane, and pass what it says on to Tune, message by message."""
    broker, number = config["broker"], config["number"]
    ray.get(broker.submit.remote(number, config["run"]))
    heard = 0
    while True:
        for message in ray.get(broker.messages.remote(number, heard)):
            heard += 1
            tune.report({"number": number, **message})
            if message["kind"] in ("end", "abort"):
                return
