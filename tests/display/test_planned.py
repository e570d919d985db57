"""What a plan says of the weights."""

from raypose.display.planned import _weights_lines


def test_what_is_no_matter_of_course_is_named_and_the_rest_counted_by_part() -> None:
    loaded = [f"backbone.stem.{i}.conv.weight" for i in range(3)]
    weights = {
        "loaded": loaded,
        "resampled": ["head.cls_x.weight"],
        "skipped": {"neck.w": "not in the model"},
        "missing": ["head.gau.gamma", "head.gau.beta", "head.mlp.0.g"],
    }
    assert list(_weights_lines(weights)) == [
        "  weights: 3 loaded, 1 resampled, 1 skipped, 3 missing",
        "    loaded: 3 backbone.stem",
        "    resampled: head.cls_x.weight",
        "    skipped: neck.w, not in the model",
        "    missing, so begin at random: 2 head.gau, 1 head.mlp",
    ]
