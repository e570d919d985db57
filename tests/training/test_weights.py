"""Weights to start from: every kind of file, what fits and what does not, and no code out of a pickle."""

import os
import pickle
import struct
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raypose.errors import WeightsError
from raypose.space.run import Run
from raypose.training.config import build_config
from raypose.training.model import build_model
from raypose.training.runner import registered
from raypose.training.weights import Loaded, describe, load_weights, read_weights, tell

MakeRun = Callable[..., Run]
SIZED = {"head.mlp.1.weight", "head.cls_x.weight", "head.cls_y.weight"}  # tensors that depend on the input size


@pytest.fixture
def model(make_run: MakeRun) -> nn.Module:
    run = make_run(seed=2)
    built, _, _ = build_model(build_config(run), run)
    return built


@pytest.fixture
def tensors(start: Path) -> dict[str, Tensor]:
    return load_file(start)


def backbone_of(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("backbone.")}


def check(model: nn.Module, before: dict[str, Tensor], tensors: dict[str, Tensor], loaded: Loaded) -> None:
    """The model has the tensors that are said to be loaded, and kept those that are said to be missing."""
    for name, tensor in model.state_dict().items():
        if name not in loaded.resampled:
            expected = before[name] if name in loaded.missing else tensors[name]
            assert torch.equal(tensor, expected), name
    assert sorted([*loaded.loaded, *loaded.resampled, *loaded.missing]) == sorted(model.state_dict())
    assert not {*loaded.loaded, *loaded.resampled} & loaded.skipped.keys()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()}


def as_safetensors(tensors: dict[str, Tensor], folder: Path) -> Path:
    save_file(tensors, folder / "w.safetensors")
    return folder / "w.safetensors"


def as_pth(content: Any, folder: Path, **options: Any) -> Path:
    torch.save(content, folder / "w.pth", **options)
    return folder / "w.pth"


@pytest.mark.parametrize(
    "write",
    [
        as_safetensors,
        as_pth,
        lambda t, d: as_pth({"state_dict": t, "meta": {"epoch": 3, "by": "someone"}}, d),
        lambda t, d: as_pth({"state_dict": OrderedDict(t), "optimizer": {"lr": 0.1}}, d),
        lambda t, d: as_pth({"state_dict": {f"module.{name}": tensor for name, tensor in t.items()}}, d),
        lambda t, d: as_pth(t, d, _use_new_zipfile_serialization=False),
        lambda t, d: f"file://{as_pth(t, d)}",
        lambda t, d: f"file://{as_safetensors(t, d)}",
    ],
    ids=["safetensors", "bare pth", "state_dict", "with optimizer", "from DDP", "old pth", "URL", "safetensors' URL"],
)
def test_a_whole_model_in_every_kind_of_file(
    model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path, write: Any
) -> None:
    before = state_of(model)
    loaded = load_weights(model, str(write(tensors, tmp_path)), None)
    assert set(loaded.loaded) == tensors.keys() and (loaded.resampled, loaded.skipped, loaded.missing) == ((), {}, ())
    check(model, before, tensors, loaded)


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("write", [as_safetensors, as_pth])
def test_a_backbone_with_and_without_its_prefix(
    model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path, write: Any, prefix: bool
) -> None:
    before, backbone = state_of(model), backbone_of(tensors)
    content = backbone if prefix else {name.removeprefix("backbone."): tensor for name, tensor in backbone.items()}
    loaded = load_weights(model, str(write(content, tmp_path)), None)
    assert set(loaded.loaded) == backbone.keys() and (loaded.resampled, loaded.skipped) == ((), {})
    assert set(loaded.missing) == tensors.keys() - backbone.keys()
    check(model, before, tensors, loaded)


def test_a_head_of_another_input_size_is_resampled(make_run: MakeRun, start: Path, tensors: dict[str, Tensor]) -> None:
    run = make_run({"input_size": "96x64"}, seed=2)
    larger, _, _ = build_model(build_config(run), run)
    before = state_of(larger)
    loaded = load_weights(larger, str(start), None)
    # 3 x 2 cells instead of 2 x 2, and twice 96 bins along x; y is as it was
    assert set(loaded.resampled) == SIZED - {"head.cls_y.weight"} and (loaded.skipped, loaded.missing) == ({}, ())
    assert set(loaded.loaded) == tensors.keys() - set(loaded.resampled)
    check(larger, before, tensors, loaded)
    assert not [name for name in loaded.resampled if torch.equal(larger.state_dict()[name], before[name])]


def test_a_head_with_as_many_cells_in_other_rows_is_resampled(make_run: MakeRun, tmp_path: Path) -> None:
    wide, high = (
        build_model(build_config(run), run)[0] for run in (make_run({"input_size": s}) for s in ("96x64", "64x96"))
    )
    before, tensors = state_of(high), state_of(wide)
    loaded = load_weights(high, str(as_safetensors(tensors, tmp_path)), None)
    assert set(loaded.resampled) == SIZED and tensors["head.mlp.1.weight"].shape == before["head.mlp.1.weight"].shape
    check(high, before, tensors, loaded)


def test_tensors_of_another_joint_count_are_skipped(
    model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    other = {**tensors, "head.final_layer.weight": torch.ones(17, 256, 7, 7), "head.final_layer.bias": torch.ones(17)}
    before = state_of(model)
    loaded = load_weights(model, str(as_safetensors(other, tmp_path)), None)
    assert loaded.skipped == {
        "head.final_layer.weight": "of shape (17, 256, 7, 7), where the model has (16, 256, 7, 7)",
        "head.final_layer.bias": "of shape (17,), where the model has (16,)",
    }
    assert set(loaded.missing) == loaded.skipped.keys() and loaded.resampled == ()
    check(model, before, tensors, loaded)


def test_unknown_tensors_are_reported_as_the_file_names_them(
    model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    content = {**backbone_of(tensors), "bbox_head.conv.weight": torch.zeros(3), "neck.0.bias": torch.zeros(1)}
    loaded = load_weights(model, str(as_safetensors(content, tmp_path)), None)
    assert loaded.skipped == {"bbox_head.conv.weight": "not in the model", "neck.0.bias": "not in the model"}


def test_none_loads_nothing(model: nn.Module) -> None:
    before = state_of(model)
    loaded = load_weights(model, "none", None)
    assert loaded == Loaded((), (), {}, tuple(before))
    check(model, before, {}, loaded)


def test_official_is_what_the_base_config_names(model: nn.Module, start: Path, tensors: dict[str, Tensor]) -> None:
    loaded = load_weights(model, "official", {"type": "Pretrained", "checkpoint": str(start)})
    assert set(loaded.loaded) == tensors.keys()
    for nothing in (None, {}, {"type": "Pretrained"}):
        with pytest.raises(WeightsError, match="official: this base config names no weights"):
            load_weights(model, "official", nothing)


@pytest.mark.parametrize("numpy", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_the_arrays_beside_published_weights_do_no_harm(tmp_path: Path, numpy: str) -> None:
    about = {"sigmas": np.zeros(16, np.float32), "colors": np.zeros((16, 3), np.uint8), "best": np.float64(0.9)}
    content = {"state_dict": {"a": torch.ones(3)}, "meta": {"dataset_meta": about}}
    file = as_pth(content, tmp_path, _use_new_zipfile_serialization=False)  # as MMPose publishes them
    stored = file.read_bytes()
    assert stored.count(b"numpy._core.multiarray") >= 2
    file.write_bytes(stored.replace(b"numpy._core.multiarray", numpy.encode()))
    assert torch.equal(read_weights(str(file))["a"], torch.ones(3))


def test_a_training_checkpoint_is_refused_with_advice(tmp_path: Path) -> None:
    history = HistoryBuffer([0.3], [1])
    file = as_pth(
        {"state_dict": {"a": torch.ones(3)}, "message_hub": {"log_scalars": {"train/loss": history}}}, tmp_path
    )
    with pytest.raises(WeightsError, match="Python objects inside.*publish_model.py"):
        read_weights(str(file))


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("place", ["the file itself", "state_dict", "tensors", "meta"])
@pytest.mark.parametrize("kind", ["zip", "old", "plain pickle", "URL", "named safetensors"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, kind: str, place: str) -> None:
    trace = tmp_path / "ran"
    content = {
        "the file itself": Bomb(trace),
        "state_dict": {"state_dict": Bomb(trace)},
        "tensors": {"state_dict": {"backbone.x": Bomb(trace)}},
        "meta": {"state_dict": {"backbone.x": torch.zeros(3)}, "meta": Bomb(trace)},
    }[place]
    file = tmp_path / ("w.safetensors" if kind == "named safetensors" else "w.pth")
    if kind == "plain pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind != "old")
    source = f"file://{file}" if kind == "URL" else str(file)
    with pytest.raises(WeightsError, match=f"{file.name}: cannot be read"):
        read_weights(source)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()  # it would have


def zipped(file: Path, inner: dict[str, bytes], method: int) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in inner.items():
            archive.writestr(name, content)
    return file


def test_a_packed_file_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    whole = as_pth({"backbone.x": torch.zeros(2**20)}, tmp_path)
    with zipfile.ZipFile(whole) as archive:
        inner = {name: archive.read(name) for name in archive.namelist()}
    stored = zipped(tmp_path / "stored.pth", inner, zipfile.ZIP_STORED)
    assert torch.equal(read_weights(str(stored))["backbone.x"], torch.zeros(2**20))
    bomb = zipped(tmp_path / "bomb.pth", inner, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20 / 64
    torch.load(bomb, weights_only=True)  # PyTorch would have read it
    with pytest.raises(WeightsError, match="bomb.pth: a compressed archive"):
        read_weights(str(bomb))


def test_members_that_claim_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    """One stretch of the file named by many members, as in the bombs that need no compression."""
    file = zipped(tmp_path / "w.pth", {"archive/data.pkl": bytes(10_000)}, zipfile.ZIP_STORED)
    stored = file.read_bytes()
    start, end = stored.index(b"PK\x01\x02"), stored.index(b"PK\x05\x06")
    entry, tail = stored[start:end], bytearray(stored[end:])
    tail[8:16] = struct.pack("<HHI", 200, 200, 200 * len(entry))
    file.write_bytes(stored[:start] + 200 * entry + tail)
    assert len(zipfile.ZipFile(file).namelist()) == 200
    with pytest.raises(WeightsError, match="w.pth: a compressed archive"):
        read_weights(str(file))


def test_an_archive_with_weights_inside_is_not_unpacked(tmp_path: Path) -> None:
    weights = as_pth({"backbone.x": torch.zeros(3)}, tmp_path).read_bytes()
    archive = zipped(tmp_path / "evil.pth", {"../../escaped.pth": weights}, zipfile.ZIP_STORED)
    with pytest.raises(WeightsError, match="evil.pth: cannot be read"):
        read_weights(f"file://{archive}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.pth", "w.pth"]
    assert not list(tmp_path.parents[1].glob("*escaped*"))


class Shelf(BaseHTTPRequestHandler):
    """Serves `files` by their paths, each with the length it claims."""

    files: dict[str, tuple[bytes, int]]

    def do_GET(self) -> None:
        content, length = self.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, tuple[bytes, int]]]]:
    """The address of a server with an empty dict of files, and an empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    handler = type("Handler", (Shelf,), {"files": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.files  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid"])
def test_an_address_that_cannot_be_reached_tells_the_way_around(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=f"weights: http://{host}/w.pth: cannot be fetched: .*; fetch it elsewhere"):
        read_weights(f"http://{host}/w.pth")


def test_a_download_is_kept_whole_or_not_at_all(tmp_path: Path, shelf: tuple[str, Any]) -> None:
    address, files = shelf
    content = as_pth({"a": torch.ones(999)}, tmp_path).read_bytes()
    files["/one/w.pth"] = content[:500], len(content)
    with pytest.raises(WeightsError, match=f"ended after 500 of {len(content)} bytes; try again"):
        read_weights(f"{address}/one/w.pth")
    assert not list((tmp_path / "cache").rglob("*.pth")) and not list((tmp_path / "cache").rglob(".new-*"))
    files["/one/w.pth"] = content, len(content)
    other = as_safetensors({"a": torch.zeros(3)}, tmp_path).read_bytes()
    files["/two/w.safetensors"] = other, len(other)
    third = as_pth({"a": torch.zeros(5)}, tmp_path).read_bytes()
    files["/three/w.pth"] = third, len(third)
    for _ in range(2):  # from the server, and from the cache
        assert torch.equal(read_weights(f"{address}/one/w.pth")["a"], torch.ones(999))
        assert torch.equal(read_weights(f"{address}/two/w.safetensors")["a"], torch.zeros(3))
        assert torch.equal(read_weights(f"{address}/three/w.pth")["a"], torch.zeros(5))
        files.clear()
    assert len(list((tmp_path / "cache").rglob("*w.*"))) == 3


def test_addresses_that_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for source in ("ftp://host/w.pth", "s3://bucket/w.pth", "data://,x"):
        with pytest.raises(WeightsError, match=f"{source}: give a file, or an address that begins with https"):
            read_weights(source)
    with pytest.raises(WeightsError, match="https://host/w.pth: holds a user or password") as caught:
        read_weights("https://me:canary@host/w.pth")
    assert "canary" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def damaged(kind: str, folder: Path) -> Path:
    pth = as_pth({"state_dict": {"a": torch.zeros(99)}}, folder).read_bytes()
    safe = as_safetensors({"a": torch.zeros(99)}, folder).read_bytes()
    old = as_pth({"a": torch.zeros(99)}, folder, _use_new_zipfile_serialization=False).read_bytes()
    name, content = {
        "empty pth": ("x.pth", b""),
        "empty safetensors": ("x.safetensors", b""),
        "text": ("x.pth", b"weights"),
        "a page instead of a file": ("x.pth", b"<!DOCTYPE html><html>404</html>"),
        "cut zip": ("x.pth", pth[: len(pth) // 2]),
        "cut old pth": ("x.pth", old[: len(old) // 2]),
        "one byte of a pickle": ("x.pth", b"q"),
        "stack underflow": ("x.pth", b"\x80\x02a."),
        "cut safetensors": ("x.safetensors", safe[:-50]),
        "pth by another name": ("x.safetensors", pth),
        "safetensors by another name": ("x.pth", safe),
    }[kind]
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    "kind",
    [
        *("empty pth", "empty safetensors", "text", "a page instead of a file", "cut zip", "cut old pth"),
        *("one byte of a pickle", "stack underflow", "cut safetensors", "pth by another name"),
        "safetensors by another name",
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    file = damaged(kind, tmp_path)
    with pytest.raises(WeightsError) as caught:
        read_weights(str(file))
    message = str(caught.value)
    assert message.startswith(f"weights: {file}: cannot be read: ") and "\n" not in message


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: IsADirectoryError"):
        read_weights(str(tmp_path))
    for name in ("gone.pth", "gone.safetensors"):
        with pytest.raises(WeightsError, match=f"weights: {tmp_path / name}: no such file"):
            read_weights(str(tmp_path / name))
    with pytest.raises(WeightsError, match="gone.pth: no such file"):
        read_weights(f"file://{tmp_path / 'gone.pth'}")


@pytest.mark.parametrize(
    "content",
    [{"a": torch.zeros(3)}, {"state_dict": {}}, torch.zeros(3), {"epoch": 3}, {"head.mlp.1.weight": torch.zeros(7, 7)}],
    ids=["other names", "no tensors", "one tensor", "no weights", "other shapes"],
)
def test_nothing_that_fits(model: nn.Module, tmp_path: Path, content: Any) -> None:
    before = state_of(model)
    with pytest.raises(WeightsError, match="w.pth: none of its [01] tensors fits the model"):
        load_weights(model, str(as_pth(content, tmp_path)), None)
    check(model, before, {}, Loaded((), (), {}, tuple(before)))


def test_a_file_without_anything_for_the_backbone(model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path) -> None:
    norm = "backbone.stem.0.bn.running_mean"  # statistics alone are nothing to start from
    head = {name: tensor for name, tensor in tensors.items() if name.startswith("head.") or name == norm}
    before = state_of(model)
    with pytest.raises(WeightsError, match=r"w.safetensors: none of its \d+ tensors fits the model's backbone; set"):
        load_weights(model, str(as_safetensors(head, tmp_path)), None)
    check(model, before, {}, Loaded((), (), {}, tuple(before)))


def test_demo_weights_are_of_one_model(make_run: MakeRun) -> None:
    run = make_run(model="rtmpose-t", weights="demo")
    with pytest.raises(WeightsError, match="demo is of rtmpose-n; set weights: official, none, or a file"):
        build_model(build_config(run), run)


@pytest.mark.parametrize(
    ("lost", "level"),
    [
        ((), "INFO"),
        (("head.final_layer.weight", "head.final_layer.bias"), "INFO"),
        (("backbone.stem.0.bn.num_batches_tracked", "backbone.stem.0.bn.running_mean"), "INFO"),
        (("backbone.stem.0.conv.weight",), "WARNING"),
    ],
    ids=["nothing", "of the head", "buffers", "of the backbone"],
)
def test_the_log_tells_what_was_loaded(
    model: nn.Module, tensors: dict[str, Tensor], tmp_path: Path, lost: tuple[str, ...], level: str
) -> None:
    kept = {name: tensor for name, tensor in tensors.items() if name not in lost}
    others = {f"{name}.other": torch.zeros(1) for name in lost}
    file = str(as_safetensors(kept | others, tmp_path))
    with registered(tmp_path / "log", "told"):
        tell(file, model, load_weights(model, file, None))
    (line,) = (tmp_path / "log").read_text().splitlines()
    names = f" ({', '.join(sorted(others))})" if others else ""
    assert f" {level} - weights {file}: {len(kept)} tensors loaded, 0 resampled, {len(lost)} skipped{names}, " in line
    assert f" {len(lost)} missing" in line and all(name in line for name in lost)


def test_many_names_are_told_shortly(model: nn.Module, tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    content = {**tensors, **{f"other.{number}": torch.zeros(1) for number in range(9)}}
    loaded = load_weights(model, str(as_safetensors(content, tmp_path)), None)
    assert describe("w", loaded).endswith("9 skipped (other.0, other.1, other.2, ...), 0 missing")


def test_a_state_dict_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="its state_dict is no dict of tensors"):
        read_weights(str(as_pth({"state_dict": torch.zeros(3)}, tmp_path)))


def test_build_model_reports_what_was_loaded(make_run: MakeRun, start: Path, tensors: dict[str, Tensor]) -> None:
    run = make_run(weights=str(start))
    model, _, loaded = build_model(build_config(run), run)
    assert set(loaded.loaded) == tensors.keys()
    check(model, {}, tensors, loaded)
