"""Whether a folder holds a sound validation set in COCO's format, as MMPose reads it. Runs in: command line, driver.

One JSON file has three lists: images, categories, and annotations, one for each person. What would stop an evaluation
or spoil its figures is a fault; the first one found is told.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from raypose.datasets.mpii_faults import LARGEST, examine_image, is_number, shown
from raypose.errors import DataError

Rules = Mapping[str, tuple[Callable[[Any], bool], str]]
"""Of each key of a record: whether a value will do, and what to give."""
LISTS = ("images", "categories", "annotations")


@dataclass(frozen=True)
class Layout:
    """Where a set's validation people lie below its folder, and what each of them must have.

    The metric scales distances by a person's `area`, or by the box where the set has no areas.
    """

    annotations: str
    images: str
    joints: int
    area: bool


# As MMPose's documentation of data sets lays them out, and its own configs read them.
COCO = Layout("annotations/person_keypoints_val2017.json", "val2017", joints=17, area=True)
AIC_IMAGES = "ai_challenger_keypoint_validation_20170911/keypoint_validation_images_20170911"
AIC = Layout("annotations/aic_val.json", AIC_IMAGES, joints=14, area=False)


def require_coco_format(folder: Path, layout: Layout) -> None:
    """Check annotations and images; raises DataError, which names the file, the record and what to do."""
    file, images = folder / layout.annotations, folder / layout.images
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: there is no such folder: name the one that holds {layout.annotations}")
    content = _read(file)
    for fault in _faults(content, layout):
        raise DataError(f"{file}: {fault}")
    if not os.path.isdir(images):
        raise DataError(f"{images}: there is no such folder: put the images there")
    names = _names_of_people(content)
    if not names:
        raise DataError(f"{file}: no person has a labelled joint and a box in the image: give some that have")
    for fault in _image_faults(images, names):
        raise DataError(f"{images}: {fault}")


def _read(file: Path) -> Any:
    if not os.path.isfile(file):  # also keeps a pipe from being opened, which would wait for ever
        raise DataError(f"{file}: there is no such file: put the annotations there")
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}): mend its rights or copy it again") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read as JSON ({error}): mend it or copy it again") from error


def _faults(content: Any, layout: Layout) -> Iterator[str]:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in LISTS):
        yield f"is not in COCO's format: give an object with the lists {', '.join(LISTS)}"
        return
    yield from _record_faults("images", content["images"], _IMAGE)
    yield from _record_faults("categories", content["categories"], _CATEGORY)
    images, categories = ({record["id"] for record in content[key]} for key in LISTS[:2])
    yield from _record_faults("annotations", content["annotations"], _person_rules(layout, images, categories))


def _record_faults(name: str, records: Iterable[Any], rules: Rules) -> Iterator[str]:
    known = set()
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            yield f"{name}[{number}] is {shown(record)}, not an object: give it the keys {', '.join(rules)}"
            continue
        for key, (will_do, wanted) in rules.items():
            if key not in record and key not in _OPTIONAL:
                yield f"{name}[{number}].{key} is missing: give {wanted}"
            elif key in record and not will_do(record[key]):
                yield f"{name}[{number}].{key} is {shown(record[key])}: give {wanted}"
        if _is_id(record.get("id")):
            if record["id"] in known:
                yield f"{name}[{number}].id is {record['id']}, like one before: give each its own"
            known.add(record["id"])


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63  # a negative one means none to xtcocotools, which has 64 bits


def _is_length(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_area(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= LARGEST**2


def _is_inside(name: Any) -> bool:
    return isinstance(name, str) and not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _are_numbers(count: int, value: Any) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(is_number, value))


_OPTIONAL = ("iscrowd", "num_keypoints")
_CATEGORY: Rules = {"id": (_is_id, "a whole number, 0 or more")}
_IMAGE: Rules = {
    "id": (_is_id, "a whole number, 0 or more"),
    "file_name": (_is_inside, "the name of a file in the images folder"),
    "width": (_is_length, "the image's width in pixels"),
    "height": (_is_length, "the image's height in pixels"),
}


def _person_rules(layout: Layout, images: set[int], categories: set[int]) -> Rules:
    rules: Rules = {
        "id": (_is_id, "a whole number, 0 or more"),
        "image_id": (lambda value: _is_id(value) and value in images, "the id of one of the images"),
        "category_id": (lambda value: _is_id(value) and value in categories, "the id of one of the categories"),
        "bbox": (partial(_are_numbers, 4), "four numbers, [x, y, width, height] in pixels"),
        "keypoints": (
            partial(_are_numbers, 3 * layout.joints),
            f"{3 * layout.joints} numbers: x, y and visibility of {layout.joints} joints",
        ),
        "iscrowd": (lambda value: value in (0, 1), "1 for a crowd, else 0"),
        "num_keypoints": (_is_id, "the number of labelled joints"),
    }
    return {**rules, "area": (_is_area, "the person's area in pixels")} if layout.area else rules


def _names_of_people(content: Mapping[str, Any]) -> list[str]:
    """The images of the people that MMPose evaluates, each once."""
    images = {image["id"]: image for image in content["images"]}
    people = ((person, images[person["image_id"]]) for person in content["annotations"])
    return list(dict.fromkeys(image["file_name"] for person, image in people if _is_evaluated(person, image)))


def _is_evaluated(person: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """As MMPose's BaseCocoStyleDataset, in float32: no crowd, not without joints, and its box is in the image."""
    x, y, width, height = person["bbox"]
    low, high = np.array([x, y]), np.array([x + width, y + height])
    last = np.array([image["width"], image["height"]]) - 1
    sides = np.float32(np.clip(high, 0, last)) - np.float32(np.clip(low, 0, last))
    places = np.float32(person["keypoints"]).reshape(-1, 3)[:, :2]
    labelled = person.get("num_keypoints", np.count_nonzero(places.max(1))) and places.max() > 0
    return bool((sides > 0).all() and labelled and not person.get("iscrowd"))


def _image_faults(folder: Path, names: Iterable[str]) -> Iterator[str]:
    """Examine each image, many at a time for the sake of network disks."""
    place = os.path.realpath(folder)
    for name in names:
        if not os.path.exists(os.path.join(place, name)):
            yield f"{shown(name)} is not there: put it there, or take its people out of the annotations"
    with ThreadPoolExecutor() as pool:
        for file in pool.map(partial(examine_image, place), names):
            if file.fault:
                yield file.fault
