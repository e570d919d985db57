"""One training run without Ray: epochs, resume, divergence, what is kept, and that plain MMPose reads it."""

import dataclasses
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint
from mmengine.utils import ManagerMixin
from mmpose.registry import MODELS
from safetensors.torch import load_file, save_file

from raypose.errors import DivergedError
from raypose.record.epochs import is_intact, read_epochs
from raypose.record.files import read_json
from raypose.space.run import Run
from raypose.training.base import FIGURES
from raypose.training.checkpoint import PLAIN, TENSORS, WEIGHTS
from raypose.training.config import build_config
from raypose.training.cost import COSTS
from raypose.training.evaluate import evaluate
from raypose.training.hooks import SeedHook
from raypose.training.model import build_model
from raypose.training.runner import build_runner, registered
from raypose.training.train import train

MakeRun = Callable[..., Run]
PCK = {
    *(f"{joint} PCK" for joint in ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")),
    *("PCK", "PCK@0.1"),
}


@dataclasses.dataclass
class Told:
    """A report that remembers what it was told, but for the costs, which are timed; it asks to stop after an epoch."""

    stop_after: int = 99
    metrics: list[dict[str, float]] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)
    with_weights: list[list[int]] = dataclasses.field(default_factory=list)

    def __call__(self, metrics: Mapping[str, float], folder: Path) -> bool:
        (epoch,) = (e for e in read_epochs(folder.parent) if e.folder == folder)
        assert is_intact(epoch) and epoch.metrics == metrics
        self.metrics.append({name: figure for name, figure in metrics.items() if name not in COSTS})
        self.folders.append(folder.name)
        self.with_weights.append([e.number for e in read_epochs(folder.parent) if e.has_weights])
        return len(self.metrics) >= self.stop_after


def named_instances() -> dict[str, set[str]]:
    """Whatever MMEngine keeps by name for the life of the process."""
    kinds = subclasses(ManagerMixin)
    return {kind.__name__: set(kind._instance_dict) for kind in kinds if hasattr(kind, "_instance_dict")}


def subclasses(kind: type) -> Iterator[Any]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


def open_logs() -> list[str]:
    targets = (Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    return [os.readlink(t) for t in targets if t.exists() and os.readlink(t).endswith("train.log")]


@pytest.fixture(scope="module")
def whole(make_run: MakeRun) -> tuple[Run, Told]:
    """Three epochs without a break. Its metric is the learning rate, so that the first epoch is the best."""
    run = make_run(epochs=3, metric="lr", loader_workers=1)
    told = Told()
    train(run, told)
    return run, told


@pytest.fixture
def copy(whole: tuple[Run, Told], tmp_path: Path) -> Run:
    """The finished run in a folder that a test may damage."""
    run, _ = whole
    return dataclasses.replace(run, folder=shutil.copytree(run.folder, tmp_path / "trial"))


def damage(folder: Path) -> None:
    """Flip bytes in the middle of a file, which stays readable."""
    content = bytearray((folder / TENSORS).read_bytes())
    content[-2000:-1000] = bytes(255 - byte for byte in content[-2000:-1000])
    (folder / TENSORS).write_bytes(content)


def assert_same_state(one: Path, other: Path) -> None:
    first, second = load_file(one / TENSORS), load_file(other / TENSORS)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert read_json(one / PLAIN) == read_json(other / PLAIN)
    first, second = (torch.load(folder / WEIGHTS, weights_only=True)["state_dict"] for folder in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())


def test_each_epoch_is_committed_and_reported_with_all_metrics(whole: tuple[Run, Told]) -> None:
    run, told = whole
    epochs = read_epochs(run.folder)
    assert told.folders == [e.folder.name for e in epochs] == ["epoch_0001", "epoch_0002", "epoch_0003"]
    costs = {name: figure for name, figure in read_json(run.folder / "cost.json").items()}
    assert costs.keys() == set(COSTS) and all(figure > 0 for figure in costs.values())
    assert [{**told, **costs} for told in told.metrics] == [e.metrics for e in epochs]
    for metrics in told.metrics:
        assert metrics.keys() == PCK | {"loss", "acc_pose", "lr"}
        assert all(0 <= metrics[name] <= 100 for name in PCK) and 0 < metrics["loss"] < 10
    assert [m["lr"] for m in told.metrics] == sorted((m["lr"] for m in told.metrics), reverse=True)
    assert told.metrics[0]["lr"] == pytest.approx(4e-3)  # the peak: warm-up is over
    assert all(e.seconds > 0 for e in epochs)
    assert "Epoch(train)" in (run.folder / "train.log").read_text()


def test_only_last_and_best_keep_weights(whole: tuple[Run, Told]) -> None:
    run, told = whole
    assert told.with_weights == [[1], [1, 2], [1, 2, 3]]  # nothing goes before its successor is reported
    assert [e.has_weights for e in read_epochs(run.folder)] == [True, False, True]
    assert [f.name for f in (run.folder / "epoch_0002").iterdir()] == ["meta.json"]
    assert sorted(f.name for f in run.folder.iterdir()) == [
        *("config.py", "cost.json", *told.folders, "ran_with.json", "train.log")
    ]
    how = read_json(run.folder / "ran_with.json")
    assert how.pop("device") and how == {
        "channels_last": run.channels_last,
        "fused": True,
        "amp": False,
        "transforms": "fast",
        "workers": 1,
        "torch": torch.__version__,
        "mmpose": version("mmpose"),
    }


def test_resume_equals_an_uninterrupted_training(whole: tuple[Run, Told], tmp_path: Path) -> None:
    run, uninterrupted = whole
    again = dataclasses.replace(run, folder=tmp_path / "trial")
    first, second = Told(stop_after=1), Told()
    train(again, first)
    assert first.folders == ["epoch_0001"] == [e.folder.name for e in read_epochs(again.folder)]
    train(again, second)
    assert first.metrics + second.metrics == uninterrupted.metrics
    assert_same_state(again.folder / "epoch_0003", run.folder / "epoch_0003")


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_the_number_of_loader_processes_changes_nothing(
    whole: tuple[Run, Told], tmp_path: Path, loader_workers: int
) -> None:
    run, one = whole
    again, told = dataclasses.replace(run, folder=tmp_path / "trial", loader_workers=loader_workers), Told(stop_after=1)
    train(again, told)
    assert told.metrics == one.metrics[:1]
    assert_same_state(again.folder / "epoch_0001", run.folder / "epoch_0001")


def test_a_finished_run_has_nothing_left_to_do(copy: Run) -> None:
    told = Told()
    train(copy, told)
    assert told.metrics == []


def test_a_full_schedule_ends_early_and_no_step_spans_two_epochs(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(epochs=2, schedule="full", accumulation=2)  # three batches an epoch: steps of 16 and 8 people
    again = dataclasses.replace(run, folder=tmp_path / "trial")
    train(run, Told())
    for stop_after, epochs in ((1, ["epoch_0001"]), (99, ["epoch_0002"]), (99, [])):
        told = Told(stop_after)
        train(again, told)
        assert told.folders == epochs
    assert_same_state(again.folder / "epoch_0002", run.folder / "epoch_0002")
    tensors = load_file(run.folder / "epoch_0002" / TENSORS)
    assert {int(t) for name, t in tensors.items() if name.endswith(".step")} == {4}


def test_a_damaged_epoch_is_passed_over(whole: tuple[Run, Told], copy: Run) -> None:
    run, uninterrupted = whole
    damage(copy.folder / "epoch_0003")
    told = Told()
    train(copy, told)  # epoch 2 has no weights any more: go on after epoch 1
    assert told.folders == ["epoch_0002", "epoch_0003"]
    assert told.metrics == uninterrupted.metrics[1:]
    assert [e.has_weights for e in read_epochs(copy.folder)] == [True, False, True]
    assert_same_state(copy.folder / "epoch_0003", run.folder / "epoch_0003")


def test_what_follows_a_damaged_epoch_is_kept_until_it_is_replaced(copy: Run) -> None:
    damage(copy.folder / "epoch_0003")
    train(copy, Told(stop_after=1))
    first, second, third = read_epochs(copy.folder)
    assert is_intact(first) and is_intact(second) and not is_intact(third)


def test_without_an_intact_epoch_it_starts_anew(whole: tuple[Run, Told], copy: Run) -> None:
    _, uninterrupted = whole
    for name in ("epoch_0001", "epoch_0003"):
        damage(copy.folder / name)
    told = Told(stop_after=1)
    train(copy, told)
    assert told.folders == ["epoch_0001"] and told.metrics == uninterrupted.metrics[:1]


def test_a_rate_at_which_the_loss_comes_back_from_the_sky_ends_the_trial(make_run: MakeRun) -> None:
    run, told = make_run({"lr": 5.0}, weights="demo", batch_size=4), Told()
    with pytest.raises(DivergedError, match=r"the loss is \d.*e\+\d+ in epoch 1, step \d: not finite, or blown up"):
        train(run, told)
    assert told.metrics == []


@pytest.mark.parametrize("fault", ["huge learning rate", "infinite weights"])
def test_a_loss_that_is_not_finite_ends_the_trial(make_run: MakeRun, tmp_path: Path, fault: str) -> None:
    run = make_run({"lr": 1e6}) if fault == "huge learning rate" else make_run()
    if fault == "infinite weights":
        model, _, _ = build_model(build_config(run), run)
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        tensors["head.mlp.1.weight"].fill_(float("inf"))
        save_file(tensors, tmp_path / "inf.safetensors")
        run = dataclasses.replace(run, weights=str(tmp_path / "inf.safetensors"))
    told, before = Told(), named_instances()
    with pytest.raises(DivergedError, match="not finite"):
        train(run, told)
    assert told.metrics == [] and read_epochs(run.folder) == ()
    assert named_instances() == before and open_logs() == []


def test_mmengine_forgets_its_named_instances(whole: tuple[Run, Told], make_run: MakeRun) -> None:
    before = named_instances()
    assert {"MMLogger", "MessageHub", "DefaultScope", "Visualizer"} <= before.keys()
    train(make_run(), Told())
    assert named_instances() == before and open_logs() == []


@pytest.mark.parametrize("epoch", [1, 3])
def test_plain_mmpose_gets_the_reported_figures(whole: tuple[Run, Told], tmp_path: Path, epoch: int) -> None:
    run, told = whole
    config = Config.fromfile(run.folder / "config.py")
    weights = run.folder / f"epoch_{epoch:04d}" / WEIGHTS
    assert torch.load(weights, weights_only=True)["meta"] == {"epoch": epoch}
    with registered(tmp_path / "log", "plain") as name:
        init_default_scope("mmpose")
        model = MODELS.build(config.model)
        load_checkpoint(model, str(weights), map_location="cpu", strict=True)
        runner = Runner(
            model=model,
            work_dir=str(tmp_path),
            val_dataloader=config.val_dataloader,
            val_cfg=config.val_cfg,
            val_evaluator=config.val_evaluator,
            default_scope="mmpose",
            experiment_name=name,
        )
        figures = runner.val()
    assert figures.keys() == PCK
    assert {n: figures[n] for n in PCK} == pytest.approx({n: told.metrics[epoch - 1][n] for n in PCK}, abs=1e-4)


def test_evaluate_gets_the_reported_figures(whole: tuple[Run, Told]) -> None:
    run, told = whole
    trained = dataclasses.replace(run, weights=str(run.folder / "epoch_0003" / WEIGHTS))
    assert evaluate(trained) == pytest.approx({name: told.metrics[2][name] for name in PCK}, abs=1e-4)


def test_a_metric_without_a_figure_ends_the_training(make_run: MakeRun) -> None:
    with pytest.raises(DivergedError, match="Nose PCK is not reported"):
        train(make_run(metric="Nose PCK"), Told())


def test_the_evaluator_reports_what_can_be_asked_for() -> None:
    assert set(FIGURES) == PCK


@pytest.mark.parametrize("seed", [0, 3, 2**31, 2**63])
def test_any_seed_of_a_trial_seeds_its_steps(seed: int) -> None:
    hook, drawn = SeedHook(seed), []
    for epoch, step in ((7, 0), (7, 1), (8, 0), (7, 1)):
        hook.before_train_iter(SimpleNamespace(epoch=epoch, iter=epoch * 3 + step, train_dataloader=range(3)), 0)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(1))))
    assert drawn[1] == drawn[3] and len({number for numbers in drawn for number in numbers}) == 9


class Seen(Hook):
    """The pictures of each epoch, as they come out of the training pipeline."""

    def __init__(self) -> None:
        self.epochs: list[list[torch.Tensor]] = [[], []]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.epochs[runner.epoch] += data_batch["inputs"]


@pytest.mark.parametrize("loader_workers", [0, 2])
def test_each_epoch_augments_anew(make_run: MakeRun, tmp_path: Path, loader_workers: int) -> None:
    run = make_run({"train_dataloader.sampler.shuffle": False}, epochs=2, loader_workers=loader_workers)
    config, seen = build_config(run), Seen()
    with registered(tmp_path / "log", "seen") as config.experiment_name:
        model, _, _ = build_model(config, run)
        runner = build_runner(config, model, run, str(tmp_path))
        for hook in (SeedHook(run.seed), seen):
            runner.register_hook(hook)
        runner.train()
    first, second = seen.epochs
    assert len(first) == len(second) == 24
    assert not [i for i in range(24) if torch.equal(first[i], second[i])]
