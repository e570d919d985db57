"""Whatever an annotation file or an image holds: either the check names it, or MMPose loads it as the report says."""

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import strategies as st
from mmengine.registry import DATASETS, init_default_scope

import raypose.training  # noqa: F401  # makes mmpose importable
from raypose.datasets.mpii import HEAD_BOXES, TRAIN, VAL, check_mpii
from raypose.datasets.mpii_faults import examine_image
from raypose.datasets.split import split_rows

PEOPLE = 3
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        [0, 1, -1, 1e-50, 1e6, 1e39, 10**400, 0.005, 1e-3, "001.jpg", "1/../2.jpg", "../1.jpg", "1.\udc80"]
    ),
)
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=3), x, max_size=3))
Place = tuple[str | int, ...]


def person(image: str) -> dict[str, Any]:
    joints = [[20.0 + i, 30.0 + i] for i in range(15)] + [[-1.0, -1.0]]
    return {"image": image, "center": [32.0, 24], "scale": 0.3, "joints": joints, "joints_vis": [1] * 15 + [0]}


@pytest.fixture(scope="module")
def folder(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set, of whose validation people there are as many as in these tests."""
    from scipy.io import savemat

    folder = shutil.copytree(tiny_data, tmp_path_factory.mktemp("fuzz") / "set")
    savemat(folder / HEAD_BOXES, {"headboxes_src": np.arange(4 * PEOPLE, dtype=float).reshape(2, 2, PEOPLE)})
    for name, prefix in ((TRAIN, "0000"), (VAL, "0002")):
        (folder / name).write_text(json.dumps([person(f"{prefix}{n}.jpg") for n in range(5, 5 + PEOPLE)]))
    return folder


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Where a value can be replaced; of the joints few, so that the other keys have their turn."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


@st.composite
def spoilt(draw: st.DrawFn, records: list[Any]) -> bytes:
    """The records with some of their values replaced, taken out, doubled or renamed."""
    records = json.loads(json.dumps(records))
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from([place for place in places(records) if place]))
        holder: Any = records
        for key in above:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "replace", "drop", "double", "wrap"])):
            case "drop" if len(records) > 1:
                del holder[last]
            case "double":
                holder.update({"id": holder[last]}) if isinstance(holder, dict) else holder.append(holder[last])
            case "wrap":
                holder[last] = [holder[last]]
            case _:
                holder[last] = draw(JSON)
    return json.dumps(records, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def mmpose_loads(folder: Path, name: str) -> Any:
    config = {"type": "MpiiDataset", "data_root": str(folder), "ann_file": name, "data_prefix": {"img": "images/"}}
    config["serialize_data"] = False  # which would search all of memory for garbage
    if name == VAL:
        config |= {"headbox_file": str(folder / HEAD_BOXES), "test_mode": True}
    init_default_scope("mmpose")
    return DATASETS.build(config)


@pytest.fixture
def judge(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    sound = {name: (folder / name).read_bytes() for name in (TRAIN, VAL)}

    def judge(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        report = check_mpii(folder)
        for problem in report.problems:
            assert str(problem).isprintable() and len(str(problem)) < 700, problem
            assert problem.place.split("[")[0] in (TRAIN, VAL, HEAD_BOXES), problem
        if report.errors:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = mmpose_loads(folder, name)
        assert len(loaded) == (report.train_people if name == TRAIN else report.val_people)
        assert len(split_rows(folder / name, 0.0, "val")) == len(loaded)
        for number in range(len(loaded)):
            info = loaded.get_data_info(number)
            assert info["keypoints"].shape == (1, 16, 2) and Path(info["img_path"]).is_file()
            for key in ("bbox", "bbox_center", "bbox_scale", "keypoints", "keypoints_visible"):
                assert np.isfinite(info[key]).all(), key

    yield judge
    for name, content in sound.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_spoilt_records(hunt: Any, folder: Path, judge: Callable[[str, bytes], None], name: str) -> None:
    records = json.loads((folder / name).read_text())
    hunt(lambda content: judge(name, content), spoilt(records), quick=25, full=2000)


@pytest.mark.parametrize("name", [TRAIN, VAL])
def test_damaged_bytes(hunt: Any, mangled: Any, folder: Path, judge: Callable[[str, bytes], None], name: str) -> None:
    words = (
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"{",
        b"}",
        b"]",
        b",",
        b":",
        b"null",
        b"\\ud800",
        b"[" * 5000,
        b"9" * 5000,
    )
    cases = mangled((folder / name).read_bytes(), words)
    hunt(lambda content: judge(name, content), cases, quick=25, full=2000)


def test_damaged_images(hunt: Any, mangled: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    encoded = [cv2.imencode(end, pixels)[1].tobytes() for end in (".jpg", ".png")]
    words = (b"\xff\xd8\xff", b"\xff\xd9", b"IEND\xaeB`\x82", b"\xff\xda", b"IHDR\xff\xff\xff\xff\xff\xff\xff\xff")

    def judge(content: bytes) -> None:
        (tmp_path / "1.jpg").write_bytes(content)
        image = examine_image(str(tmp_path), "1.jpg", deep=True)
        assert image.digest and not image.dangerous and (image.fault or "").isprintable()
        assert examine_image(str(tmp_path), "1.jpg").digest == image.digest
        if image.fault is None:
            assert cv2.imread(str(tmp_path / "1.jpg")) is not None

    hunt(judge, st.one_of(*[mangled(whole, words) for whole in encoded]), quick=50, full=3000)
