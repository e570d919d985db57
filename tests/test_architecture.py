"""The design's borders, proven from the imports: which stage may use which framework and which other stage."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raypose

PACKAGE = Path(raypose.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
STAGES = (
    "space",
    "datasets",
    "record",
    "training",
    "tuning",
    "tracking",
    "report",
    "bench",
    "display",
    "machine",
    "cli",
)
FRAMEWORKS = {
    "space": {"yaml", "pydantic", "pydantic_core"},
    "datasets": {"numpy", "cv2", "scipy", "PIL", "pyarrow", "filelock"},
    "record": {"optuna", "filelock", "numpy", "scipy"},
    "training": {"mmengine", "mmpose", "albumentations", "torch", "safetensors", "numpy", "scipy", "cv2"},
    "tuning": {"ray", "torch", "cv2", "mmengine"},
    "tracking": {"mlflow", "filelock"},
    "report": {"plotly", "optuna", "jinja2", "markupsafe", "tensorboard"},  # draws; whatever was trained, it only reads
    "bench": {"mmengine", "mmpose", "torch", "numpy", "cv2", "optuna", "ray", "rich"},
    "display": {"rich", "matplotlib", "cv2"},
    "machine": {"torch", "ray"},  # the doctor tries whether they work
    "cli": {"typer", "rich"},
}
# A lane sets torch's and OpenCV's threads and speaks to the other ranks in the worker process; nothing else may.
ONLY_IN_THE_LANE = {"torch", "cv2", "mmengine"}
MAY_USE = {
    "space": set(),
    "datasets": set(),
    "record": {"space"},
    "training": {"space", "record", "datasets"},
    "tuning": {"space", "record", "datasets", "training", "tracking", "report"},  # written when an experiment ends
    "tracking": {"record", "space"},
    "report": {"record", "space"},
    "bench": {"space", "datasets", "record", "training", "tuning", "display"},  # it measures all of a search
    "display": {"space", "datasets", "record", "tuning", "machine"},
    "machine": {"space", "datasets", "record", "training", "tuning", "tracking"},
    "cli": set(STAGES),
}
ALL_FRAMEWORKS = set.union(*FRAMEWORKS.values()) | {"typer"}


def _stage(module: Path) -> str | None:
    first = module.relative_to(PACKAGE).parts[0]
    return first if first in STAGES else None


def _imports(module: Path, top_level_only: bool = False) -> Iterator[str]:
    tree = ast.parse(module.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("module", [m for m in MODULES if _stage(m)], ids=lambda m: str(m.relative_to(PACKAGE)))
def test_stage_keeps_to_its_frameworks_and_neighbours(module: Path) -> None:
    stage = _stage(module)
    assert stage is not None
    names = set(_imports(module))
    frameworks = {name.split(".")[0] for name in names} & ALL_FRAMEWORKS
    assert frameworks <= FRAMEWORKS[stage]
    if stage == "tuning" and module.name != "lane.py":
        assert not frameworks & ONLY_IN_THE_LANE
    stages = {name.split(".")[1] for name in names if name.startswith("raypose.")} & set(STAGES)
    assert stages - {stage} <= MAY_USE[stage]


@pytest.mark.parametrize("module", [m for m in MODULES if _stage(m) == "tuning"], ids=lambda m: m.name)
def test_driver_reaches_training_only_inside_functions(module: Path) -> None:
    assert not [name for name in _imports(module, top_level_only=True) if name.startswith("raypose.training")]


def test_training_knows_neither_ray_nor_optuna_nor_mlflow() -> None:
    code = "import sys, raypose.training.train; print(sorted({'ray', 'optuna', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


VERBS = (["--help"], ["plan", "no_such_file.yaml"], *([verb, "--help"] for verb in ("tune", "train", "test")))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_help_and_bad_specifications_load_no_framework(verb: list[str]) -> None:
    heavy = {"ray", "torch", "mlflow", "optuna", "mmengine", "cv2"}
    code = (
        "import sys, raypose.cli.app\n"
        f"sys.argv = ['raypose', *{verb!r}]\n"
        "try:\n    raypose.cli.app.main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", [m for m in MODULES if m.stat().st_size], ids=lambda m: str(m.relative_to(PACKAGE)))
def test_module_says_what_it_is_for_and_where_it_runs(module: Path) -> None:
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    assert text
    assert module.name == "__init__.py" or "Runs in:" in " ".join(text.split())
