"""What can be wrong with one record of an MPII annotation file, or one image file. Runs in: command line, driver."""

import hashlib
import os
import reprlib
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeGuard

import cv2
import numpy as np

JOINTS = 16
PIXEL_STD = 200  # MPII's scale is the person's height divided by this many pixels
LARGEST = 1e6  # no photo has so many pixels a side; MMPose's float32 boxes overflow far above

JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
END = 1024  # bytes read of either end; cameras and converters may add some padding behind the end marker

LONGEST = 120  # characters of a value in a message

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def shown(value: object) -> str:
    """A value from a file, shortened and escaped for a message of one line."""
    text = _repr.repr(value)  # of nested values still many times a line
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class ImageFile(NamedTuple):
    """The SHA-256 of an image's size and its two ends ("" where they cannot be read), and what is wrong with it.

    `dangerous` is what no training may open: a link out of the folder, or a pipe, at which it would wait for ever.
    """

    digest: str
    fault: str | None = None
    dangerous: bool = False


def record_faults(record: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with one person's record, as pairs of the key (".joints", or "" for the record) and a text."""
    if not isinstance(record, dict):
        yield "", f"is {shown(record)}, not an object: give it the keys {', '.join(_FAULT_OF)}"
        return
    for key, fault_of in _FAULT_OF.items():
        fault = fault_of(record[key]) if key in record else "is missing: add it to the record"
        if fault:
            yield f".{key}", fault


def _image_fault(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"is {shown(name)}, not a text: give the name of a file in images/"
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return f"{shown(name)} leaves the images folder: put the image into images/ and give its name alone"
    try:
        int(name.split(".")[0])  # as MpiiDataset does
    except ValueError:
        return f"{shown(name)} does not begin with a number, MMPose's image id: rename the image, e.g. to 00001.jpg"
    return None


def _center_fault(center: Any) -> str | None:
    return None if _is_point(center) else f"is {shown(center)}: give the person's centre, two numbers [x, y] in pixels"


def _scale_fault(scale: Any) -> str | None:
    if is_number(scale) and scale * PIXEL_STD >= 1:
        return None
    return f"is {shown(scale)}: give the person's height in pixels divided by {PIXEL_STD}, a number above 0"


def _joints_fault(joints: Any) -> str | None:
    if not isinstance(joints, list) or len(joints) != JOINTS:
        return f"is {_amount(joints)}: give {JOINTS} pairs [x, y], with [-1, -1] for a joint without a label"
    for number, joint in enumerate(joints):
        if not _is_point(joint):
            return f"has {shown(joint)} as joint {number}: give two finite numbers, [x, y] in pixels"
    return None


def _visibility_fault(visible: Any) -> str | None:
    if not isinstance(visible, list) or len(visible) != JOINTS:
        return f"is {_amount(visible)}: give {JOINTS} numbers, 1 for a labelled joint and 0 for one without a label"
    for number, value in enumerate(visible):
        if not is_number(value) or value not in (0, 1):
            return f"has {shown(value)} for joint {number}: give 1 (labelled) or 0 (without a label)"
    return None


_FAULT_OF = {
    "image": _image_fault,
    "center": _center_fault,
    "scale": _scale_fault,
    "joints": _joints_fault,
    "joints_vis": _visibility_fault,
}


def _amount(value: Any) -> str:
    return f"a list of {len(value)}" if isinstance(value, list) else shown(value)


def _is_point(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_number(value[0]) and is_number(value[1])


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it is a number of a sane size; NaN and infinity fail the comparison."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def examine_image(images: str, name: str, deep: bool = False) -> ImageFile:
    """Look at both ends of an image file, or decode it if `deep`; `images` is a path without symbolic links."""
    path = os.path.join(images, name)
    try:
        if ("/" in name or os.path.islink(path)) and not Path(os.path.realpath(path)).is_relative_to(images):
            return _dangerous(f"{shown(name)} is a link that leaves the images folder: put a copy into images/")
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return _dangerous(f"{shown(name)} is not a file: put the image itself into images/")
        digest, fault = _ends(path, status.st_size)
        fault = fault or (_decoding_fault(path) if deep else None)
    except FileNotFoundError:
        return ImageFile("", f"{shown(name)} is not in images/: put it there, or take the record out")
    except OSError as error:
        return ImageFile("", f"{shown(name)} cannot be read ({error.strerror}): mend its rights or its name")
    except ValueError as error:  # a null byte or half a surrogate pair in the name
        return _dangerous(f"{shown(name)} cannot be read ({error}): mend its name")
    return ImageFile(digest, f"{shown(name)} {fault}" if fault else None)


def _dangerous(fault: str) -> ImageFile:
    return ImageFile("", fault, dangerous=True)


def _ends(path: str, size: int) -> tuple[str, str | None]:
    """The digest of an image, and what its head and tail say is wrong with it."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(END)
        file.seek(max(0, size - END))
        tail = file.read(END)
    return hashlib.sha256(b"%d " % size + head + tail).hexdigest(), _content_fault(path, head, tail)


def _content_fault(path: str, head: bytes, tail: bytes) -> str | None:
    if not head:
        return "is empty (0 bytes): copy it again"
    if head.startswith(JPEG_START):
        whole = JPEG_END in tail or _scan_ends(path)
    elif head.startswith(PNG_START):
        whole = PNG_END in tail
    else:
        return "is neither a JPEG nor a PNG file: convert it, or copy it again"
    return None if whole else "is cut off before its end marker: copy it again"


def _scan_ends(path: str) -> bool:
    """Whether a JPEG with a long trailer is whole: an end marker follows the last scan (a thumbnail has its own)."""
    data = Path(path).read_bytes()
    return data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)


def _decoding_fault(path: str) -> str | None:
    try:
        image = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # absurd dimensions in a damaged header
        image = None
    return "cannot be decoded: copy it again" if image is None else None
