"""Specifications written to a file and read back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raypose.errors import SpecError
from raypose.space import Experiment, load_spec


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Experiment]:
    """Loads a specification's text with options, such as `load(text, **{"train.epochs": "3"})`."""

    def load(text: str, **overrides: str) -> Experiment:
        file = tmp_path / "spec.yaml"
        file.write_text(text)
        return load_spec(file, overrides)

    return load


@pytest.fixture
def problems_of(tmp_path: Path, load: Callable[..., Experiment]) -> Callable[..., list[str]]:
    """The problems of a specification's text without the file's own name: `7: key: message`."""

    def problems_of(text: str, **overrides: str) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(text, **overrides)
        assert all("\n" not in problem for problem in caught.value.problems)
        return [problem.removeprefix(f"{tmp_path / 'spec.yaml'}:") for problem in caught.value.problems]

    return problems_of
