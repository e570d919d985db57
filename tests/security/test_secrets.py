"""Addresses that hold a password are refused before they can be written down or shown."""

from pathlib import Path

import pytest

from raypose.cli.options import load_experiment
from raypose.errors import SpecError
from raypose.record.storage import check_storage

CANARY = "canary7f3a9c"
SPEC = "space: {lr: {log_uniform: [1.0e-4, 1.0e-2]}}\n"


@pytest.mark.parametrize(
    "address", ["https://me:{}@host/x.pth", "https://{}@host/x.pth", "http://{}:x@h/a.safetensors"]
)
@pytest.mark.parametrize("way", ["file", "option", "set"])
def test_weights_with_a_password_are_refused(tmp_path: Path, address: str, way: str) -> None:
    weights = address.format(CANARY)
    spec = tmp_path / "lr.yaml"
    spec.write_text(f"weights: {weights}\n{SPEC}" if way == "file" else SPEC)
    options = {"weights": weights} if way == "option" else {}
    with pytest.raises(SpecError, match="weights: an address with a user or password would be shown") as caught:
        load_experiment(spec, settings=[f"weights={weights}"] if way == "set" else [], **options)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("weights", ["https://host/a@b/x.pth", "https://host/x.pth?by=me@home", "you@home.pth"])
def test_an_at_sign_elsewhere_is_no_password(tmp_path: Path, weights: str) -> None:
    (tmp_path / "lr.yaml").write_text(SPEC)
    assert load_experiment(tmp_path / "lr.yaml", settings=[], weights=weights).weights.endswith(weights)


@pytest.mark.parametrize(
    "address", ["postgresql://me:{}@host/db", "mysql+x://me:{}@host:port/db", "nothing://me:{}@h/d"]
)
def test_a_study_elsewhere_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(SpecError, match="search.storage: ") as caught:
        check_storage(address.format(CANARY))
    assert CANARY not in str(caught.value)
