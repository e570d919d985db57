"""Whatever a file in COCO's format holds: either the check says what is wrong in one line, or it can be scored."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from mmengine.registry import DATASETS, init_default_scope

from raypose.datasets.formats import DataSet, require_sound_sets
from raypose.errors import DataError
from raypose.training.several_sets import people_of
from tests.fuzz.test_annotations import spoilt
from tests.other_formats import COCO_FILE, make_coco
from tests.training.test_several_sets import figures

NUMBERS = st.sampled_from([0, 1, 2, True, 0.5, 5, 60, 139, -1, 1e-50, 1e-3, -1e6, 1e6, 1e12, 2**40])
KEYS = ("bbox", "keypoints", "area", "iscrowd", "num_keypoints", "width", "height", "id")


@st.composite
def bent(draw: st.DrawFn, content: dict[str, Any]) -> bytes:
    """The content with some numbers replaced, most of them by such as somebody may have meant."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(KEYS))
        record = draw(st.sampled_from(content["images" if key in ("width", "height") else "annotations"]))
        if key in ("bbox", "keypoints"):
            record[key][draw(st.integers(0, len(record[key]) - 1))] = draw(NUMBERS)
        else:
            record[key] = draw(NUMBERS)
    return json.dumps(content).encode()


@pytest.fixture(scope="module")
def data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Four people on two images, as few as the spoilt ones are to matter among."""
    folder = make_coco(tiny_data, tmp_path_factory.mktemp("fuzz") / "coco")
    file = folder / COCO_FILE
    content = json.loads(file.read_text())
    content["images"] = content["images"][:2]
    content["annotations"] = content["annotations"][:4]
    file.write_text(json.dumps(content))
    return DataSet("coco", folder)


def test_what_is_let_through_can_be_scored(data: DataSet, tmp_path: Path, hunt: Callable[..., None]) -> None:
    init_default_scope("mmpose")
    copy = DataSet("coco", Path(shutil.copytree(data.folder, tmp_path / "coco")))
    file = copy.folder / COCO_FILE
    content, scored = json.loads(file.read_text()), 0

    def check(case: bytes) -> None:
        nonlocal scored
        file.write_bytes(case)
        try:
            require_sound_sets([copy])
        except DataError as fault:
            assert "\n" not in str(fault) and str(fault).startswith(str(copy.folder))
            return
        loaded = DATASETS.build(people_of([copy], []))
        people = [loaded[number]["raw_ann_info"] for number in range(len(loaded))]
        found = figures(copy, people, [np.full((16, 2), 9.0)] * len(people))
        assert people and len(found) == 10
        scored += 1

    hunt(check, spoilt(content), quick=15, full=1000)
    hunt(check, bent(content), quick=25, full=1000)
    assert scored > 10
