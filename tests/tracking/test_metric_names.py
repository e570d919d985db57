import pytest
from mlflow.utils.validation import _validate_metric_name

from raypose.space.knobs import Value
from raypose.tracking.names import legal_metric, plain, trial_title


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("PCK", "PCK"),
        ("PCK@0.1", "PCK_0.1"),
        ("Head PCK", "Head PCK"),
        ("coco/AP", "coco/AP"),
        ("train_pipeline[2].prob", "train_pipeline_x5b2_x5d.prob"),
        ("a//b", "a_x2f_x2fb"),
        ("../a", "_x2e_x2e_x2fa"),
        ("größe", "gr_xf6_xdfe"),
        ("50%\n", "50_x25_xa"),
    ],
)
def test_names_become_legal_and_legal_ones_stay(name: str, legal: str) -> None:
    assert legal_metric(name) == legal
    _validate_metric_name(legal_metric(name))  # type: ignore[no-untyped-call]


def test_different_names_stay_different() -> None:
    names = ["loss", "loss(1)", "loss[1]", "loss{1}", "loss%1", "a/b", "a//b", "a.b", "/a/b"]
    assert len({legal_metric(name) for name in names}) == len(names)


def test_numbers_are_plain_decimals() -> None:
    values = [1e-05, 0.1, 3, 4.0, 1.6e-2, True, None, "stem", 1e22]
    assert [plain(v) for v in values] == [
        "0.00001", "0.1", "3", "4.0", "0.016", "true", "none", "stem", "10000000000000000000000",
    ]  # fmt: skip


def test_title_shows_the_knobs() -> None:
    values: dict[str, Value] = {"lr": 0.001234567, "freeze": "stem", "optim_wrapper.optimizer.weight_decay": 1.23456e-5}
    assert trial_title(3, values) == "trial 3: lr 0.00123, freeze stem, weight_decay 0.0000123"
    assert trial_title(0, {}) == "trial 0"
