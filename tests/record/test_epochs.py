"""An epoch on disk exists whole or not at all, and damage to it is seen."""

from pathlib import Path

import pytest

from raypose.record.epochs import commit_epoch, is_intact, read_epochs, retire, staging_folder


def write(trial: Path, number: int, figure: float = 50.0) -> Path:
    staging = staging_folder(trial, number)
    (staging / "state.bin").write_bytes(b"tensors of epoch %d" % number)
    return commit_epoch(staging, number, {"PCK": figure}, seconds=1.5)


def test_committed_epochs_are_read_back_in_order(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write(tmp_path, number, figure=10.0 * number)
    epochs = read_epochs(tmp_path)
    assert [(e.number, e.metrics, e.seconds, e.has_weights) for e in epochs] == [
        (n, {"PCK": 10.0 * n}, 1.5, True) for n in (1, 2, 3)
    ]
    assert all(is_intact(e) for e in epochs)


def test_an_epoch_that_was_not_committed_does_not_exist(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (staging_folder(tmp_path, 2) / "state.bin").write_bytes(b"half")
    assert [e.number for e in read_epochs(tmp_path)] == [1]


def test_epochs_behind_a_gap_do_not_count(tmp_path: Path) -> None:
    write(tmp_path, 1)
    write(tmp_path, 3)
    assert [e.number for e in read_epochs(tmp_path)] == [1]


@pytest.mark.parametrize("damage", [b"", b"tensors of epoch 9"], ids=["cut", "changed"])
def test_damaged_files_are_noticed(tmp_path: Path, damage: bytes) -> None:
    (write(tmp_path, 1) / "state.bin").write_bytes(damage)
    assert not is_intact(read_epochs(tmp_path)[0])


def test_a_missing_file_is_noticed(tmp_path: Path) -> None:
    (write(tmp_path, 1) / "state.bin").unlink()
    assert not is_intact(read_epochs(tmp_path)[0])


def test_a_retired_epoch_keeps_its_metrics_only(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, figure=42.0)
    retire(read_epochs(tmp_path)[0])
    (epoch,) = read_epochs(tmp_path)
    assert epoch.metrics == {"PCK": 42.0} and not epoch.has_weights and not is_intact(epoch)
    assert [f.name for f in folder.iterdir()] == ["meta.json"]


def test_an_epoch_done_again_replaces_the_damaged_one(tmp_path: Path) -> None:
    (write(tmp_path, 1) / "state.bin").write_bytes(b"damaged")
    write(tmp_path, 1, figure=60.0)
    (epoch,) = read_epochs(tmp_path)
    assert epoch.metrics == {"PCK": 60.0} and is_intact(epoch)


def test_a_figure_that_is_no_number_cannot_be_committed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path, 1, figure=float("nan"))
    assert read_epochs(tmp_path) == ()
