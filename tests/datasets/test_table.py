"""A table on disk: its arrays as they were written, block by block, and what it does without room."""

from pathlib import Path

import numpy as np
import pytest

from raypose.datasets.table import Rows, write_table


def blocks() -> list[Rows]:
    rng = np.random.default_rng(0)
    return [{"maps": rng.random((n, 2, 3), np.float32), "seen": rng.integers(0, 2, (n, 4))} for n in (5, 5, 2)]


def test_all_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_table(tmp_path / "table.npy", (3, 4), blocks(), limit=10**6)
    table = np.load(tmp_path / "table.npy", mmap_mode="r")
    assert table.shape == (3, 4)
    for name in ("maps", "seen"):
        whole = np.concatenate([block[name] for block in blocks()])
        assert np.array_equal(table[name].reshape(whole.shape), whole) and table[name].dtype == whole.dtype


def test_it_says_how_much_room_it_would_take(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"they take 56 MB, and there is room for 50 MB"):
        write_table(tmp_path / "table.npy", (1000, 1000), blocks(), limit=50 * 10**6)
    assert (tmp_path / "table.npy").stat().st_size == 0


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_table(Path("/dev/full"), (3, 4), blocks(), limit=10**6)
