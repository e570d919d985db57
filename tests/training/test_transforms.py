"""Each faster transform does what MMPose's own does, from the same random draws."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.codecs import SimCCLabel
from mmpose.registry import DATASETS, TRANSFORMS
from PIL import Image

from raypose.datasets.photo import Photo
from raypose.space.run import Run
from raypose.training.base import base_config
from raypose.training.config import build_config
from raypose.training.hasten import faster, hastened
from raypose.training.input_size import set_input_size
from raypose.training.transforms import SimCCByTable

MakeRun = Callable[..., Run]
DRAWS = 5  # of each person
ALL = (0, 0, 640, 360)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people on smooth images of 640x360, as the MPII layout has them, with joints that may be out of sight."""
    folder, rng, records = tmp_path_factory.mktemp("photos"), np.random.default_rng(0), []
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    for number in range(6):
        coarse = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (640, 360), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        centre, scale = rng.uniform((200, 120), (440, 240)), rng.uniform(0.4, 2.0)
        joints = centre + rng.uniform(-0.6, 0.6, (16, 2)) * 200 * scale
        visible = rng.integers(0, 2, 16).tolist() if number else [1] * 16
        records.append(
            {
                "image": f"{number}.jpg",
                "center": centre.tolist(),
                "scale": scale,
                "joints": joints.tolist(),
                "joints_vis": visible,
            }
        )
    (folder / "annotations" / "mpii_train.json").write_text(json.dumps(records))
    return folder


def pipelines(size: str, training: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """MMPose's for RTMPose, and ours."""
    init_default_scope("mmpose")
    config = base_config("rtmpose-m")
    set_input_size(config, size)
    stock = (config.train_dataloader if training else config.val_dataloader).dataset.pipeline
    return stock, faster(stock, training)


def samples(photos: Path, pipeline: list[dict[str, Any]], until: str) -> list[dict[str, Any]]:
    """What a pipeline makes of each person and draw, up to the step before `until`."""
    config = base_config("rtmpose-m").train_dataloader.dataset
    config.update(data_root=str(photos), pipeline=[])
    people = DATASETS.build(config)
    names = [step["type"].split(".")[-1] for step in pipeline]
    steps = [TRANSFORMS.build(copy.deepcopy(step)) for step in pipeline[: names.index(until)]]
    made = []
    for index in range(len(people)):
        for draw in range(DRAWS):
            np.random.seed(100 * draw + index)
            sample = people.get_data_info(index)
            for step in steps:
                sample = step(sample)
            made.append(sample)
    return made


def unlike(one: Any, other: Any) -> float:
    """The mean difference of two images, of 255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def test_all_of_the_recipe_is_replaced() -> None:
    stock, fast = pipelines("64x64")
    same = [new["type"] for old, new in zip(stock, fast, strict=True) if old["type"] == new["type"]]
    assert same == ["RandomHalfBody", "GenerateTarget"]  # the last one's encoder is


@pytest.mark.parametrize("size", ["64x64", "192x256"])
@pytest.mark.parametrize("training", [True, False])
def test_boxes_joints_and_pixels_are_the_same(photos: Path, size: str, training: bool) -> None:
    stock, fast = pipelines(size, training)
    after = ("YOLOXHSVRandomAug", "ColourByTable") if training else ("PackPoseInputs", "PackInPlace")
    for theirs, ours in zip(samples(photos, stock, after[0]), samples(photos, fast, after[1]), strict=True):
        for key in ("input_center", "input_scale", "keypoints", "keypoints_visible", "transformed_keypoints"):
            assert np.array_equal(theirs[key], ours[key]), key
        assert theirs["img_shape"] == ours["img_shape"] and theirs.get("flip") == ours.get("flip")
        assert unlike(theirs["img"], ours["img"]) < (2 if training else 1e-9)  # of 255


def test_colours_are_the_same_to_the_bit(photos: Path) -> None:
    stock, fast = pipelines("64x64")
    crops = samples(photos, stock, "YOLOXHSVRandomAug")
    theirs, ours = (
        TRANSFORMS.build(next(s for s in p if s["type"].endswith(n))) for p, n in ((stock, "Aug"), (fast, "Table"))
    )
    for seed, crop in enumerate(crops):
        results = []
        for transform in (theirs, ours):
            np.random.seed(seed)
            results.append(transform({"img": crop["img"].copy()})["img"])
        assert np.array_equal(*results)


def test_labels_are_the_same_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    settings = {"input_size": (192, 256), "sigma": (4.9, 5.66), "simcc_split_ratio": 2.0, "normalize": False}
    for normalize in (False, True):
        theirs, ours = (kind(**{**settings, "normalize": normalize}) for kind in (SimCCLabel, SimCCByTable))
        joints = rng.uniform(-60, 320, (4, 17, 2)).astype(np.float32)
        visible = rng.integers(0, 2, (4, 17)).astype(np.float32)
        for key, label in theirs.encode(joints, visible).items():
            assert np.array_equal(label, ours.encode(joints, visible)[key]), key


@pytest.mark.parametrize("more", [{}, {"heatmaps": np.ones((16, 4, 4), np.float32)}], ids=["labels", "maps"])
def test_what_is_packed_is_the_same(photos: Path, more: dict[str, Any]) -> None:
    _, fast = pipelines("64x64")
    for sample in samples(photos, fast, "PackInPlace"):
        theirs, ours = (
            TRANSFORMS.build({"type": kind}).transform({**sample, **more}) for kind in ("PackPoseInputs", "PackInPlace")
        )
        assert torch.equal(theirs["inputs"], ours["inputs"])
        parts = [packed["data_samples"].to_dict() for packed in (theirs, ours)]
        assert parts[0].keys() == parts[1].keys() >= {"gt_instances", "gt_instance_labels", "flip_indices"}
        for key, theirs_part in parts[0].items():
            for name, value in theirs_part.items() if isinstance(theirs_part, dict) else [(key, theirs_part)]:
                found = parts[1][key][name] if isinstance(theirs_part, dict) else parts[1][key]
                assert type(found) is type(value) and np.array_equal(found, value), name


def test_degrading_has_the_same_distribution() -> None:
    stock, fast = pipelines("64x64")
    image = np.random.default_rng(0).integers(1, 256, (64, 64, 3)).astype(np.uint8)
    figures = []
    for pipeline in (stock, fast):
        transform = TRANSFORMS.build(copy.deepcopy(pipeline[7]))
        np.random.seed(0)
        made = [transform({"img": image.copy()})["img"] for _ in range(1500)]
        holes = np.array([(m == 0).all(-1) for m in made])
        rows, columns = holes.any(2).sum(1), holes.any(1).sum(1)
        smooth = [np.abs(np.diff(m.astype(int), axis=0)).mean() for m in made]
        sizes = (rows.mean(), rows.std(), columns.mean(), columns.std())
        figures.append([*sizes, holes[:, :32].mean(), np.mean(smooth), np.std(smooth)])
        assert rows.min() >= 12 and rows.max() <= 25, "0.2 to 0.4 of 64 pixels"
    assert figures[1] == pytest.approx(figures[0], rel=0.05)


def test_what_is_not_known_stays_as_it_is() -> None:
    stock, _ = pipelines("64x64")
    seeing = [*stock[:2], {"type": "PhotometricDistortion"}, *stock[2:]]
    kept = [step["type"] for step in faster(seeing, training=True)]
    assert kept[0] == "LoadImage" and kept[3] == "RandomFlip" and kept[6] == "TopdownAffine" and "TurnBox" in kept
    stock[2]["direction"] = "vertical"
    assert [s["type"] for s in faster(stock, training=True)][:3] == ["LoadImage", "PadBox", "RandomFlip"]
    other = {"type": "Albumentation", "transforms": [{"type": "Blur"}, {"type": "CLAHE"}]}
    filled = {"type": "Albumentation", "transforms": [{"type": "CoarseDropout", "fill": "random"}]}
    heatmaps = {"type": "GenerateTarget", "encoder": {"type": "MSRAHeatmap"}}
    assert faster([other, filled, heatmaps], training=True) == [other, filled, heatmaps]


def test_the_settings_of_albumentations_are_those_that_are_drawn_from() -> None:
    assert albumentations.Blur().blur_limit == albumentations.MedianBlur().blur_limit == (3, 7)
    assert albumentations.CoarseDropout(min_height=0.2, max_height=0.4).hole_height_range == (0.2, 0.4)


def test_a_photo_is_decoded_as_small_as_its_crop_allows(photos: Path) -> None:
    photo = Photo(photos / "images" / "0.jpg")
    assert photo.shape == (360, 640)
    assert [photo.picture(density, ALL).pixels.shape[:2] for density in (0.5, 1.9, 2.0, 3.9, 4.0, 9.0)] == [
        *((360, 640), (360, 640), (180, 320), (180, 320), (90, 160), (90, 160))
    ]


@pytest.mark.parametrize("shrink", [2, 4])
def test_a_shrunk_photo_is_warped_to_the_same_place(photos: Path, shrink: int) -> None:
    photo, inside = Photo(photos / "images" / "0.jpg"), np.s_[8:-8, 8:-8]
    matrix = np.array([[0.5, 0.1, -40], [-0.1, 0.5, 20]])
    small, whole = photo.picture(shrink, ALL), photo.picture(1, ALL).warped(matrix, (160, 96))
    assert unlike(small.warped(matrix, (160, 96))[inside], whole[inside]) < 1
    for shift in ((0.25, 0), (-0.25, 0), (0, 0.25), (0, -0.25)):
        shifted = matrix + np.outer(shift, (0, 0, 1))
        assert unlike(small.warped(shifted, (160, 96))[inside], whole[inside]) > 1, "a quarter of a pixel is seen"


def test_a_turned_photo_has_the_shape_that_it_is_decoded_to(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    photo = Photo(tmp_path / "turned.jpg")
    assert photo.shape == (40, 20) == photo.picture(1, ALL).pixels.shape[:2] and photo.picture(2, ALL).pixels.shape[
        :2
    ] == (
        20,
        10,
    )


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_photo_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(OSError):
        Photo(tmp_path / "bad.jpg").picture(1, ALL)


def test_both_training_pipelines_and_that_of_validation_are_hastened(make_run: MakeRun) -> None:
    run = make_run()
    config = hastened(build_config(run), run)
    (switch,) = (hook for hook in config.custom_hooks if "switch_pipeline" in hook)
    pipelines = [
        config.train_dataloader.dataset.pipeline,
        switch.switch_pipeline,
        config.val_dataloader.dataset.pipeline,
    ]
    warps = [step for pipeline in pipelines for step in pipeline if step["type"] == "WarpOnce"]
    assert [warp["whole"] for warp in warps] == [False, False, True]
    assert "WarpOnce" not in str(hastened(build_config(run), replace(run, fast_transforms=False)))


def test_only_jpeg_is_decoded_small(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "odd.png"), np.zeros((41, 81, 3), np.uint8))
    assert Photo(tmp_path / "odd.png").picture(4.0, ALL).pixels.shape == (41, 81, 3)
