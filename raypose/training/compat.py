"""Make MMPose 1.3.2 import and run without mmdet, compiled mmcv ops and chumpy. Runs in: GPU worker, `raypose plan`.

MMPose imports mmdet and mmcv's compiled operators for heads that RTMPose does not use, and its RTMPose configs name
three classes of mmdet. Here the imports are satisfied while mmpose loads, and the three names lead to native classes.
"""

import functools
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS, TRANSFORMS, Registry
from mmengine.runner import Runner


@functools.cache
def install() -> None:
    """Import mmpose and register what its RTMPose configs look for; the second call does nothing."""
    with _stand_ins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmcv-lite and albumentations announce what we know
        import mmpose.datasets
        import mmpose.evaluation
        import mmpose.models
        import mmpose.visualization  # noqa: F401
    from mmpose.datasets.transforms import YOLOXHSVRandomAug
    from mmpose.models.backbones import CSPNeXt

    for name, parent, native in (
        ("model", MODELS, CSPNeXt),
        ("transform", TRANSFORMS, YOLOXHSVRandomAug),
        ("hook", HOOKS, PipelineSwitchHook),
    ):
        Registry(name, scope="mmdet", parent=parent, locations=["mmpose.models"]).register_module(module=native)
    # mmengine imports `<scope>.registry` whenever a config names that scope, and warns each time it cannot.
    sys.modules.setdefault("mmdet.registry", ModuleType("mmdet.registry"))
    _seed_albumentations()


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Lend mmpose the names it imports from absent packages, and take them away again once it is loaded."""
    lent = {
        "mmdet": ModuleType("mmdet"),
        "mmdet.utils": _module("mmdet.utils", ConfigType=dict, reduce_mean=_needs("mmdet")),
        "mmcv.ops": _module("mmcv.ops", MultiScaleDeformableAttention=_needs("mmcv's compiled operators")),
    }
    lent = {name: module for name, module in lent.items() if name not in sys.modules}
    sys.modules.update(lent)
    try:
        yield
    finally:
        for name in lent:
            del sys.modules[name]


def _module(name: str, **names: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    return module


def _needs(package: str) -> type:
    """A class that says what is missing when somebody builds a head that RTMPose never uses."""

    def refuse(self: object, *_: object, **__: object) -> None:
        raise ImportError(f"this part of MMPose needs {package}, which raypose does without")

    return type("Absent", (), {"__init__": refuse})


class PipelineSwitchHook(Hook):
    """Change the training pipeline from `switch_epoch` (0-based) on, also after a resume past that epoch.

    Same name and arguments as mmdet's hook, which compares with `==` and so misses the switch after a resume.
    """

    def __init__(self, switch_epoch: int, switch_pipeline: list[dict[str, Any]]) -> None:
        self.switch_epoch = switch_epoch
        self.switch_pipeline = switch_pipeline
        self._switched = False

    def before_train_epoch(self, runner: Runner) -> None:
        """Put the second pipeline in place once it is due."""
        if self._switched or runner.epoch < self.switch_epoch:
            return
        from mmengine.dataset import Compose

        loader = runner.train_loop.dataloader
        runner.logger.info(f"epoch {runner.epoch + 1}: the second training pipeline begins")
        loader.dataset.pipeline = Compose(self.switch_pipeline)
        if loader.persistent_workers:  # they hold a copy of the first pipeline: let them be made anew
            loader._DataLoader__initialized = False
            loader._iterator = None
            loader._DataLoader__initialized = True
        self._switched = True


def _seed_albumentations() -> None:
    """Let `Albumentation` draw from NumPy's global generator, as all other MMPose transforms do.

    Since 1.4.19 albumentations keeps a generator of its own, seeded from the system, which neither MMEngine's seed
    nor a resume reaches.
    """
    from mmpose.datasets.transforms import Albumentation

    stock = Albumentation.transform

    @functools.wraps(stock)
    def transform(self: Any, results: dict[str, Any]) -> dict[str, Any]:
        for one in self.aug.transforms:  # each its own: with that of the whole all of them would draw the same
            one.set_random_seed(int(np.random.randint(2**31)))
        done: dict[str, Any] = stock(self, results)
        return done

    Albumentation.transform = transform
