"""The demo set: rendered people in MPII layout, the data that needs no download. Runs in: the CLI process.

Files follow MPII's own conventions, as MMPose's MpiiDataset expects them: pixel coordinates count from 1, `scale` is
the person's size over 200 pixels, and `center` lies 15 `scale` above the middle of the person's box, because the
reader moves it down again. Joints outside the picture have `joints_vis` 0 and the coordinates -1, -1.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from raypose.datasets.mat_file import write_arrays
from raypose.datasets.picture import Picture, Style, draw_picture
from raypose.errors import DataError

__all__ = ["Style", "ensure_demo", "render_demo"]

Split = Literal["train", "val"]
Progress = Callable[[int, int], None]

DEMO_FOLDER = Path("data/demo")  # where `demo` is, below the current folder
RECIPE = 1  # raise it whenever the same seed draws other pictures
STAMP = "demo.json"
_STAGING = ".partial"  # the end of the names of folders that are not yet, or no longer, a demo set
_JPEG_QUALITY = 90
_STYLES: Mapping[Style, int] = {"street": 0, "sketch": 1}
_SPLITS: Mapping[Split, int] = {"train": 0, "val": 1}


def ensure_demo(
    folder: Path,
    *,
    train: int = 800,
    val: int = 200,
    seed: int = 0,
    style: Style = "street",
    on_progress: Progress | None = None,
) -> bool:
    """Render the demo set unless `folder` already holds just this one; True when it had to.

    DataError: `folder` is there and no demo set. It is left as it is.
    """
    if _read_stamp(folder) == _stamp(train, val, seed, style):
        return False
    render_demo(folder, train=train, val=val, seed=seed, style=style, on_progress=on_progress)
    return True


def render_demo(
    folder: Path,
    *,
    train: int = 800,
    val: int = 200,
    seed: int = 0,
    style: Style = "street",
    on_progress: Progress | None = None,
) -> None:
    """Render `train` + `val` pictures in MPII layout; an older demo set in `folder` is replaced by the whole new one.

    A picture depends on seed, style, split and its number in the split alone. `on_progress` gets (done, total).
    DataError: `folder` is there and no demo set. It is left as it is.
    """
    if min(train, val) < 1 or seed < 0:
        raise DataError(
            f"demo set: train {train}, val {val}, seed {seed}: at least one picture a split, seed 0 or more"
        )
    before, stamp = _read_stamp(folder), _stamp(train, val, seed, style)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_STAGING, dir=folder.parent))
    try:
        _write_set(staging, {"train": train, "val": val}, seed, style, on_progress)
        (staging / STAMP).write_text(json.dumps(stamp, indent=1) + "\n")
        staging.chmod(0o755)  # mkdtemp keeps it to its owner
        now = _read_stamp(folder)
        # Where another process was quicker, its set is this set, and may be in use already.
        if now == before or now != stamp:
            _put_in_place(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _stamp(train: int, val: int, seed: int, style: Style) -> dict[str, object]:
    return {"recipe": RECIPE, "style": style, "seed": seed, "train": train, "val": val}


def _read_stamp(folder: Path) -> object:
    """The stamp of the demo set in `folder`, None where there is nothing."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        return json.loads((folder / STAMP).read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: is there and is no demo set ({STAMP} is missing or unreadable); name another folder"
        ) from error


def _sweep(folder: Path) -> None:
    """Remove what a killed process left beside `folder`; a living one is done long before an hour has passed."""
    for left in folder.parent.glob(f".{folder.name}.*{_STAGING}"):
        if time.time() - left.stat().st_mtime > 3600:
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(staging: Path, folder: Path) -> None:
    """Rename `staging` to `folder`; an older set steps aside first, so that no name ever holds half a set."""
    if folder.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=_STAGING, dir=folder.parent))
        folder.rename(aside / "old")
        staging.rename(folder)
        shutil.rmtree(aside)
    else:
        staging.rename(folder)


def _write_set(root: Path, counts: Mapping[Split, int], seed: int, style: Style, on_progress: Progress | None) -> None:
    (root / "images").mkdir()
    (root / "annotations").mkdir()
    total, done = sum(counts.values()), 0
    for split, count in counts.items():
        people, head_boxes = [], []
        for i in range(count):
            picture = draw_picture(np.random.default_rng([seed, _STYLES[style], _SPLITS[split], i]), style)
            done += 1
            name = f"{done:05d}.jpg"  # MpiiDataset makes the number the picture's id: unique over both splits
            _write_image(root / "images" / name, picture)
            people.append(_person(picture, name))
            head_boxes.append(picture.head_box + 1)
            if on_progress:
                on_progress(done, total)
        (root / "annotations" / f"mpii_{split}.json").write_text(json.dumps(people))
        if split == "val":
            _write_truth(root / "annotations" / "mpii_gt_val.mat", people, head_boxes)


def _write_image(path: Path, picture: Picture) -> None:
    _, data = cv2.imencode(".jpg", picture.pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    path.write_bytes(data.tobytes())


def _person(picture: Picture, name: str) -> dict[str, object]:
    scale = picture.box_side / 200
    center = picture.box_middle + 1 - [0, 15 * scale]
    joints = np.where(picture.inside[:, None], picture.joints + 1, -1.0)
    return {
        "image": name,
        "center": [round(float(v), 2) for v in center],
        "scale": round(scale, 5),
        "joints": [[round(float(x), 2), round(float(y), 2)] for x, y in joints],
        "joints_vis": picture.inside.astype(int).tolist(),
    }


def _write_truth(path: Path, people: list[dict[str, object]], head_boxes: list[np.ndarray]) -> None:
    """What the metric reads: head boxes (2, 2, N), joints (16, 2, N), and which joints are missing (16, N)."""
    visible = np.array([person["joints_vis"] for person in people], dtype=float)
    content = {
        "headboxes_src": np.array(head_boxes).transpose(1, 2, 0),
        "pos_gt_src": np.array([person["joints"] for person in people]).transpose(1, 2, 0),
        "jnt_missing": 1 - visible.T,
    }
    write_arrays(path, content, "raypose demo set")
