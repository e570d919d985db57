"""Small sets in COCO's and AI Challenger's formats, made of the validation people of a set in MPII's."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

# MPII's number of each joint, written out by hand; None for one that MPII does not have.
OF_COCO = (None, None, None, None, None, 13, 12, 14, 11, 15, 10, 3, 2, 4, 1, 5, 0)
OF_AIC = (12, 11, 10, 13, 14, 15, 2, 1, 0, 3, 4, 5, 9, 8)
COCO_FILE, COCO_IMAGES = "annotations/person_keypoints_val2017.json", "val2017"
AIC_FILE = "annotations/aic_val.json"
AIC_IMAGES = "ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911"
UPPER_NECK, HEAD_TOP = 8, 9


def make_coco(mpii: Path, folder: Path) -> Path:
    """Two people an image, areas as of segmentations, faces labelled; on the first also what is not to be scored."""
    content = _make(mpii, folder / COCO_IMAGES, OF_COCO)
    for number, person in enumerate(content["annotations"]):
        person.update(area=0.4 * person["bbox"][2] * person["bbox"][3], iscrowd=0, segmentation=[], id=500_000 - number)
    first = content["annotations"][0]
    nothing, only_nose = [0] * 51, [*first["keypoints"][:2], 2] + [0] * 48
    crowd = {"keypoints": nothing, "num_keypoints": 0, "iscrowd": 1, "id": 900_100_000_139}  # as large as COCO's own
    content["annotations"] += [
        {**first, **crowd, "segmentation": {"counts": [0, 10], "size": [5, 2]}},
        {**first, "keypoints": nothing, "num_keypoints": 0, "id": 7},
        {**first, "keypoints": only_nose, "num_keypoints": 1, "id": 8},
    ]
    return _write(folder, COCO_FILE, content)


def make_aic(mpii: Path, folder: Path) -> Path:
    """Two people an image, without areas and crowds."""
    return _write(folder, AIC_FILE, _make(mpii, folder / AIC_IMAGES, OF_AIC))


def _write(folder: Path, name: str, content: dict[str, Any]) -> Path:
    (folder / "annotations").mkdir()
    (folder / name).write_text(json.dumps(content))
    return folder


def _make(mpii: Path, images: Path, joints: Sequence[int | None]) -> dict[str, Any]:
    images.mkdir(parents=True)
    records = json.loads((mpii / "annotations/mpii_val.json").read_text())
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "person"}]}
    for number, pair in enumerate(zip(records[::2], records[1::2], strict=True)):
        pictures = [cv2.imread(str(mpii / "images" / record["image"])) for record in pair]
        height, left = max(len(picture) for picture in pictures), 0
        image = {"id": 139 + 100 * number, "file_name": f"{139 + 100 * number:012d}.png", "height": height}
        content["images"].append({**image, "width": sum(picture.shape[1] for picture in pictures)})
        for record, picture in zip(pair, pictures, strict=True):
            person = _person(record, joints, left, picture.shape[1], height)
            content["annotations"].append({"image_id": image["id"], "id": 1000 + len(content["annotations"]), **person})
            left += picture.shape[1]
        side_by_side = [cv2.copyMakeBorder(p, 0, height - len(p), 0, 0, cv2.BORDER_CONSTANT) for p in pictures]
        assert cv2.imwrite(str(images / str(image["file_name"])), np.hstack(side_by_side))
    return content


def _person(record: dict[str, Any], joints: Sequence[int | None], left: int, width: int, height: int) -> dict[str, Any]:
    """An annotation; MPII counts pixels from 1, and the picture's first column is `left`."""
    places, seen = np.array(record["joints"]) - 1 + [left, 0], np.array(record["joints_vis"])
    face = (places[UPPER_NECK] + places[HEAD_TOP]) / 2
    keypoints: list[float] = []
    for number, joint in enumerate(joints):
        if joint is None:
            keypoints += [*(face + [3.0 * number, 0]), 2 - number % 2]
        else:
            keypoints += [*places[joint], 2] if seen[joint] else [0, 0, 0]
    low, high = places[seen > 0].min(0), places[seen > 0].max(0)
    margin = 0.1 * (high - low)
    x, y = np.maximum(low - margin, (left, 0))
    right, bottom = np.minimum(high + margin, (left + width - 1, height - 1))
    labelled = sum(v > 0 for v in keypoints[2::3])
    box = [float(x), float(y), float(right - x), float(bottom - y)]
    return {"category_id": 1, "keypoints": keypoints, "num_keypoints": labelled, "bbox": box}
