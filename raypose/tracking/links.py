"""Addresses of the pages in MLflow's UI that people look for. Runs in: command line."""

import json
from urllib.parse import quote, urlencode
from urllib.request import OpenerDirector, ProxyHandler, build_opener

from raypose.tracking.saved_views import SAVED_VIEW, TRIALS

_MODEL_TRAINING = {"workflowType": "machine_learning"}  # the UI begins with its pages for language models
_TIMEOUT_S = 30.0


def links(base: str) -> list[str]:
    """A line each for the trials and the charts of the latest experiment at the server `base`, and for the champions.

    Raises:
        OSError: the server does not answer.
    """
    found = _latest(base)
    models = f"  champions: {base}/#/models?{urlencode(_MODEL_TRAINING)}"
    if found is None:
        return [models]
    name, number = found
    page = f"{base}/#/experiments/{number}/runs?{urlencode({**_MODEL_TRAINING, 'viewStateShareKey': TRIALS})}"
    return [f"  {name}: {page}", f"  knobs against its metric: {page}&compareRunsMode=CHART", models]


def loopback() -> OpenerDirector:
    """Opens addresses of this machine, which a proxy from the environment cannot reach."""
    return build_opener(ProxyHandler({}))


def _latest(base: str) -> tuple[str, str] | None:
    """Name and number of the experiment of raypose's that was made last."""
    wanted = {"max_results": 1, "order_by": "creation_time DESC", "filter": f"tags.`{SAVED_VIEW}{TRIALS}` != ''"}
    address = f"{base}/api/2.0/mlflow/experiments/search?{urlencode(wanted, quote_via=quote)}"
    with loopback().open(address, timeout=_TIMEOUT_S) as reply:
        found = json.load(reply).get("experiments", [])
    return (found[0]["name"], found[0]["experiment_id"]) if found else None
