"""A pose head of another input size: the same functions of the place in the crop, and joints found without training."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from safetensors.torch import save_file
from torch import Tensor

from raypose.datasets.demo import render_demo
from raypose.space.run import Run
from raypose.training.evaluate import evaluate
from raypose.training.resample import resample
from raypose.training.weights import read_weights

MakeRun = Callable[..., Run]
MLP, MLP2, CLS_X, CLS_Y = (f"head.{name}.weight" for name in ("mlp.1", "mlp2.1", "cls_x", "cls_y"))
SPOT = 0.35, 0.6  # of the crop's width and height


def spot(count: int, place: float) -> Tensor:
    """A bell around a place in 0..1, at the centres of `count` cells."""
    return torch.exp(-(((torch.arange(count) + 0.5) / count - place) ** 2) / (2 * 0.3**2))


def spot_map(width: int, height: int) -> Tensor:
    """The bell on a map, flattened row by row as the head does."""
    x, y = SPOT
    return (spot(height, y)[:, None] * spot(width, x)).flatten()


def head(width: int, height: int, split: float = 2.0, hidden: int = 4) -> dict[str, Tensor]:
    """The sized tensors of a head for WxH pixels, every reader and writer a bell around SPOT."""
    return {
        MLP: spot_map(width // 32, height // 32).expand(hidden, -1).contiguous(),
        MLP2: spot_map(width // 16, height // 16).expand(hidden, -1).contiguous(),
        CLS_X: spot(int(width * split), SPOT[0])[:, None].expand(-1, hidden).contiguous(),
        CLS_Y: spot(int(height * split), SPOT[1])[:, None].expand(-1, hidden).contiguous(),
    }


@pytest.mark.parametrize("split", [2.0, 1.0])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((192, 256), (256, 256)),
        ((256, 192), (192, 256)),  # as many cells, in other rows
        ((288, 384), (192, 256)),
        ((192, 256), (384, 320)),
    ],
)
def test_the_same_functions_at_another_size(old: tuple[int, int], new: tuple[int, int], split: float) -> None:
    own = head(*new)
    fitted = resample(head(*old, split), own)
    same = {CLS_Y} if split == 2.0 and old[1] == new[1] else set()
    assert fitted.keys() == own.keys() - same
    assert all(tensor.shape == own[name].shape for name, tensor in fitted.items())
    ratio = (old[0] * old[1]) / (new[0] * new[1])
    for name, bells in own.items():
        scale = ratio if name in (MLP, MLP2) else 1.0
        if name in fitted:
            torch.testing.assert_close(fitted[name], bells * scale, rtol=0, atol=0.1)


@pytest.mark.parametrize("new", [(384, 512), (160, 224)])
def test_what_the_head_reads_keeps_its_scale(new: tuple[int, int]) -> None:
    before, after = head(192, 256), {**head(*new), **resample(head(192, 256), head(*new))}
    for name, cell in ((MLP, 32), (MLP2, 16)):
        seen = [spot_map(width // cell, height // cell) for width, height in ((192, 256), new)]
        one, other = (x / x.square().mean().sqrt() for x in seen)  # ScaleNorm
        torch.testing.assert_close(after[name] @ other, before[name] @ one, rtol=0.04, atol=0)


@pytest.mark.parametrize("cell", range(64))
def test_no_cell_is_stepped_over_where_the_map_shrinks(cell: int) -> None:
    old = {**head(256, 256), MLP: torch.eye(64)[cell].expand(4, -1)}
    assert resample(old, head(64, 64))[MLP].abs().amax(dim=1).gt(0.01).all()


def test_nothing_is_resampled_at_the_same_size() -> None:
    assert resample(head(192, 256), head(192, 256)) == {}


def test_half_precision_is_taken() -> None:
    half = {name: tensor.half() for name, tensor in head(192, 256).items()}
    fitted = resample(half, head(256, 256))
    assert {tensor.dtype for tensor in fitted.values()} == {torch.float32} and len(fitted) == 3


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({MLP: torch.ones(4, 47)}, {MLP2, CLS_X, CLS_Y}),  # no map of 3:4 has 47 cells
        ({MLP: torch.ones(5, 48)}, {MLP2, CLS_X, CLS_Y}),  # another hidden size
        ({MLP: torch.ones(48)}, {MLP2, CLS_X, CLS_Y}),
        ({MLP: None, MLP2: None}, {CLS_X, CLS_Y}),
        ({CLS_X: torch.ones(384, 5)}, {MLP, MLP2, CLS_Y}),
        ({CLS_X: torch.ones(384)}, {CLS_Y}),
        ({CLS_X: torch.tensor(1.0)}, {CLS_Y}),
        ({CLS_Y: torch.ones(0, 4)}, {CLS_X}),
        ({CLS_Y: None}, {CLS_X}),
        ({MLP: None, CLS_X: None, CLS_Y: None}, set()),
    ],
    ids=lambda value: ",".join(str(key).split(".")[1] for key in sorted(value)),
)
def test_what_differs_in_more_than_the_size_is_left_out(changes: dict[str, Tensor | None], left: set[str]) -> None:
    changed = {name: tensor for name, tensor in {**head(192, 256), **changes}.items() if tensor is not None}
    assert resample(changed, head(384, 320)).keys() == left


@pytest.mark.parametrize("kind", ["RTMCCHead", "RTMWHead"])
def test_mmposes_heads_take_what_is_resampled(kind: str) -> None:
    init_default_scope("mmpose")
    gau = {"hidden_dims": 8, "s": 4, "expansion_factor": 2, "dropout_rate": 0.0, "drop_path": 0.0, "act_fn": "SiLU"}

    def build(width: int, height: int) -> torch.nn.Module:
        cells = width // 32, height // 32
        wanted = {"in_channels": 16, "out_channels": 5, "gau_cfg": {**gau, "use_rel_bias": False, "pos_enc": False}}
        return MODELS.build({"type": kind, "input_size": (width, height), "in_featuremap_size": cells, **wanted})

    old, new = (torch.nn.ModuleDict({"head": build(*size)}) for size in ((96, 64), (128, 160)))
    fitted = resample(old.state_dict(), new.state_dict())
    differing = {name for name, tensor in new.state_dict().items() if tensor.shape != old.state_dict()[name].shape}
    assert fitted.keys() == differing and {MLP, CLS_X, CLS_Y} <= differing
    assert (MLP2 in differing) == (kind == "RTMWHead")
    new.load_state_dict({**old.state_dict(), **fitted})
    maps = [torch.ones(1, 8, 10, 8)] * (kind == "RTMWHead") + [torch.ones(1, 16, 5, 4)]
    assert [scores.shape for scores in new["head"].eval()(maps)] == [(1, 5, 256), (1, 5, 320)]


@pytest.fixture(scope="module")
def sketches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People in the style that the demo weights were made on."""
    folder = tmp_path_factory.mktemp("sketches") / "set"
    render_demo(folder, train=1, val=24, seed=7, style="sketch")
    return folder


@pytest.mark.parametrize(("size", "at_least"), [("160x160", 30), ("96x128", 18)])
def test_joints_are_found_without_training(
    make_run: MakeRun, sketches: Path, tmp_path: Path, size: str, at_least: float
) -> None:
    run = make_run({"input_size": size}, weights="demo", data=sketches, batch_size=24)
    save_file(
        {k: v for k, v in read_weights("demo").items() if k not in (MLP, CLS_X, CLS_Y)}, tmp_path / "w.safetensors"
    )
    without = dataclasses.replace(run, weights=str(tmp_path / "w.safetensors"))
    assert evaluate(without)["PCK"] < 8 < at_least < evaluate(run)["PCK"]
