"""Damaged head box files: judged in a process of their own, as a damaged file can kill the one that reads it.

What passes the check must be read whole by scipy, as MMPose does, and give the same boxes.
"""

import io
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.io import savemat

BOXES = np.array([[[10, 12], [11, 13]], [[30, 36], [31, 37]]], dtype=np.float64)  # two corners, x and y, two people
JUDGE = """
import io, resource, struct, sys
import numpy as np
from scipy.io import loadmat
from raypose.datasets.head_boxes import VARIABLE, head_box_faults
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))  # what asks for more fails
while header := sys.stdin.buffer.read(4):
    data = sys.stdin.buffer.read(*struct.unpack("I", header))
    try:
        texts = list(head_box_faults(data, 2, "val.json"))
        said = next((f"printed {text!r}" for text in texts if not text.isprintable() or len(text) > 700), "")
        if not texts:
            boxes = np.transpose(loadmat(io.BytesIO(data))[VARIABLE], [2, 0, 1])
            size = [float(np.linalg.norm(box[1] - box[0], axis=0)) for box in boxes]
            said = "" if len(size) == 2 and np.isfinite(size).all() and min(size) > 0 else f"passed {boxes!r}"
    except BaseException as error:
        said = f"raised {error!r}"
    print(said.encode("unicode_escape").decode(), flush=True)
"""


class Judge:
    """A process that reads head box files, started again when one of them has killed it."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, data: bytes) -> None:
        if self.process is None:
            pipe = subprocess.PIPE
            command = [sys.executable, "-W", "ignore", "-c", JUDGE]
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(len(data).to_bytes(4, sys.byteorder) + data)
        self.process.stdin.flush()
        if not (said := self.process.stdout.readline()):
            died, self.process = self.process.wait(), None
            raise AssertionError(f"the process ended with {died}")
        assert said == b"\n", said.decode()

    def end(self) -> None:
        if self.process:
            self.process.communicate()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.end()


def saved(variables: dict[str, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, **options)
    return file.getvalue()


def big_endian() -> bytes:
    """The boxes as a machine of the other kind writes them, which scipy cannot."""
    parts = [(6, np.array([6, 0])), (5, np.array([2, 2, 2])), (1, b"headboxes_src".ljust(16, b"\0")), (9, BOXES)]
    content = b""
    for kind, part in parts:
        data = part if isinstance(part, bytes) else part.astype(">f8" if kind == 9 else ">u4").tobytes(order="F")
        size = 13 if kind == 1 else len(data)
        content += struct.pack(">II", kind, size) + data + b"\0" * (-len(data) % 8)
    return b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(content)) + content


OTHERS = {
    "dataset_joints": np.array(["ankle", "knee"], dtype=object),
    "jnt_missing": np.zeros((16, 2), np.uint8),
    "note": {"by": "hand"},
}
SOUND = [
    saved({"headboxes_src": BOXES}),
    saved({"headboxes_src": BOXES.astype(np.int16)}),
    saved({"headboxes_src": BOXES}, do_compression=True),
    saved(OTHERS | {"headboxes_src": BOXES}),
    saved(OTHERS | {"headboxes_src": BOXES}, do_compression=True),
    saved({"headboxes_src": BOXES, **OTHERS}),
    big_endian(),
]
NUMBERS = st.sampled_from([0, 1, 2, 3, 5, 6, 7, 8, 9, 13, 14, 15, 16, 18, 19, 56, 2**16, 2**31 - 1, 2**31, 2**32 - 1])


@st.composite
def renumbered(draw: st.DrawFn) -> bytes:
    """A sound file with some of its types, sizes, dimensions and flags replaced."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 3))):
        at = 128 + 4 * draw(st.integers(0, (len(data) - 132) // 4))
        size = draw(st.sampled_from([1, 2, 4]))
        number = draw(NUMBERS | st.integers(0, 255))
        data[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(data)


@pytest.mark.parametrize("data", SOUND)
def test_sound_files_are_sound(judge: Judge, data: bytes) -> None:
    judge(data)


def test_damaged_bytes(hunt: Any, mangled: Callable[..., st.SearchStrategy[bytes]], judge: Judge) -> None:
    files = st.one_of(*[mangled(whole) for whole in SOUND], *[st.just(data[:128]).flatmap(mangled) for data in SOUND])
    hunt(judge, files | st.binary(max_size=300), quick=150, full=10_000)


def test_damaged_numbers(hunt: Any, judge: Judge) -> None:
    hunt(judge, renumbered(), quick=150, full=10_000)
