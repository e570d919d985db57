"""Views of an experiment's runs that MLflow's UI offers under "Views": its knobs against its metric. Runs in: driver.

By itself MLflow 3.17 shows neither params nor metrics beside the runs, and no chart of both. A saved view is a tag of
the experiment: JSON with a name, two times in milliseconds, and the compressed state of the page, in the words of the
UI's own source (`runs-charts.types.ts` and its neighbours in `mlflow/server/js/src/experiment-tracking/components`).
"""

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from raypose.record.view import ExperimentView
from raypose.tracking.names import legal_metric

SAVED_VIEW = "mlflow.sharedViewState."
TRIALS, STUDY = "raypose-trials", "raypose-study"
"""The keys of the views, by which addresses name them: trials with the best first, and folded under their study."""

_EVERY_RUN = 1000


def saved_views(view: ExperimentView) -> dict[str, str]:
    """The experiment's tags, one a view."""
    best = f"best_{legal_metric(view.metric)}"
    best_first = {"searchFilter": "tags.`raypose.trial` != ''", "orderByKey": f"metrics.`{best}`", "orderByAsc": False}
    latest_first = {"searchFilter": "", "orderByKey": "attributes.start_time", "orderByAsc": False}
    state = _state(view, best)
    return {
        f"{SAVED_VIEW}{TRIALS}": _saved("Trials, best first", {**best_first, **state}, view),
        f"{SAVED_VIEW}{STUDY}": _saved("Trials folded under their study", {**latest_first, **state}, view),
    }


def _saved(name: str, state: dict[str, Any], view: ExperimentView) -> str:
    made = round(1000 * (view.folder / "spec.json").stat().st_mtime)
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()  # MLflow cuts tags at 20,000 letters
    return json.dumps({"name": name, "createdAt": made, "updatedAt": made, "state": f"deflate;{packed}"})


def _state(view: ExperimentView, best: str) -> dict[str, Any]:
    """Knobs and figures as the table's columns, and on the page of charts the knobs against the best figure."""
    knobs = [legal_metric(knob) for knob in view.varied]
    columns = [*(f"params.`{knob}`" for knob in knobs), f"metrics.`{best}`", "metrics.`best_epoch`"]
    wide, narrow = [_parallel(knobs, best)], [*_scatters(knobs, best), _curves(legal_metric(view.metric))]
    return {
        "selectedColumns": [*columns, "tags.`raypose.state`"],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [*_in_section("all-knobs", wide), *_in_section("each-knob", narrow)],
        "compareRunSections": [
            _section("all-knobs", f"All knobs and {best}", columns=1),
            _section("each-knob", f"Each knob and {best}, and the learning curves", columns=2),
        ],
    }


def _section(key: str, name: str, columns: int) -> dict[str, Any]:
    shown = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": key, "name": name, "columns": columns, **shown}


def _in_section(section: str, charts: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, chart in enumerate(charts):
        kept = {"deleted": False, "isGenerated": False, "runsCountToCompare": _EVERY_RUN}
        yield {"uuid": f"{section}-{number}", "metricSectionId": section, **kept, **chart}


def _parallel(knobs: list[str], best: str) -> dict[str, Any]:
    return {"type": "PARALLEL", "selectedParams": knobs, "selectedMetrics": [best], "showAllRuns": True}


def _scatters(knobs: list[str], best: str) -> Iterator[dict[str, Any]]:
    for knob in knobs:
        yield {"type": "SCATTER", "xaxis": {"key": knob, "type": "PARAM"}, "yaxis": {"key": best, "type": "METRIC"}}


def _curves(metric: str) -> dict[str, Any]:
    scales = {"xAxisScaleType": "linear", "scaleType": "linear", "range": {}, "lineSmoothness": 0}
    axes = {"xAxisKey": "step", "selectedXAxisMetricKey": "", "yAxisKey": "metric", "yAxisExpressions": []}
    as_everywhere = {"ignoreOutliers": False, "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True}
    return {"type": "LINE", "metricKey": metric, "selectedMetricKeys": [metric], **axes, **scales, **as_everywhere}
