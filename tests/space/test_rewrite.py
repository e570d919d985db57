"""One value of a YAML file is replaced, and no other character."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypose.errors import SpecError
from raypose.space.rewrite import rewrite_value, write_range
from raypose.space.yaml_lines import read_yaml

NEW = "{log_uniform: [3.1e-4, 6.0e-3]}"
LR = ("space", "lr")


@pytest.mark.parametrize(
    "text",
    [
        "space:\n  lr: <{log_uniform: [1, 2]}>   # old\n  freeze: {choice: [none]}\n",
        "space:\n  lr: <{log_uniform: [1,\n    2]}>  # old",
        "space: {lr: <{uniform: [1, 2]}>, freeze: x}  # old\n",
        "# top\nspace:\n  a.b: 1\n\n  lr:  # why\n    # how\n    <uniform: [1, 2]>   # old\n\n  # next\n  freeze: x\n",
        "space:\n  lr:\n    <choice:\n    - 1  # one\n    - 2>  # two\n\n# end\n",
        "space:\n  lr: <1e-3> # old\ndata: demo",
        "space:\n  lr: <'a # b'>   # old\n",
        "space:\n  lr: <|\n    a\n    b>\n\n# end\ndata: demo\n",
        "space:\r\n  lr: <{log_uniform: [1, 2]}>\r\n# end\r\n",
        "\ufeffspace: {lr: <1>}\n",
        "é: ü\nspace:\n  'lr': <1>\n",
        "a: &x 1\nb: *x\nspace:\n  lr: <2>\n",
    ],
)
def test_only_the_value_changes(text: str) -> None:
    before, _, rest = text.partition("<")
    old, _, after = rest.partition(">")
    assert rewrite_value(before + old + after, LR, NEW) == before + NEW + after


def test_a_blank_is_put_where_yaml_needs_one() -> None:
    assert rewrite_value("space:\n  lr:  # none\n", LR, NEW) == f"space:\n  lr: {NEW}  # none\n"
    assert rewrite_value("space:\n  lr:\n  - 1\n  - 2  # two\n", LR, NEW) == f"space:\n  lr:\n   {NEW}  # two\n"


def test_a_place_at_the_top() -> None:
    assert rewrite_value("model: x  # m\ndata: demo\n", ("data",), "1") == "model: x  # m\ndata: 1\n"


def test_a_range_keeps_what_the_knob_depends_on() -> None:
    text = "space:\n  freeze: {choice: [none, stem]}\n  lr: {uniform: [1, 2], when: {freeze: none}, also: [a.b]}  # c\n"
    rewritten = write_range(text, "lr", 1e-5, 0.002)
    assert rewritten.startswith(text.partition("  lr:")[0]) and rewritten.endswith("  # c\n")
    kept = {"when": {"freeze": "none"}, "also": ["a.b"]}
    assert read_yaml(rewritten).data["space"]["lr"] == {"log_uniform": [1e-5, 0.002], **kept}
    assert write_range("space:\n  lr: 1\n", "lr", 0.1, 2.0) == "space:\n  lr: {log_uniform: [0.1, 2.0]}\n"
    with pytest.raises(SpecError, match="space.lr: not in the file"):
        write_range("space: {freeze: x}", "lr", 1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "space.lr: not in the file"),
        ("space: {freeze: x}", "space.lr: not in the file"),
        ("lr: 1", "space.lr: not in the file"),
        ("space: [lr]", "space.lr: not in the file"),
        ("a: &x {b: 1}\nspace:\n  lr: *x", "space.lr: cannot be replaced by itself"),
        ("space: {lr: &x {b: 1}, c: *x}", "space.lr: cannot be replaced by itself"),
        ("a: &x {lr: 1}\nspace: *x", "space.lr: cannot be replaced by itself"),
        ("a: &x 1\nspace:\n  lr:\n    b: *x", "space.lr: cannot be replaced by itself"),
        ("space: {lr}", "space.lr: cannot be replaced by itself"),
    ],
)
def test_what_cannot_be_replaced(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        rewrite_value(text, LR, NEW)
    assert caught.value.problems[0].startswith(expected)


PLAIN = st.sampled_from(
    ["1", "x", "'q # r'", "[1, 2]", "{choice: [1]}", "\n    a: 1  # c\n    b: [2]", "\n  - 1\n  - 2", ""]
)
COMMENT = st.sampled_from(["", "  # why", "  # why\n  # more\n"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(PLAIN, COMMENT), min_size=1, max_size=4), st.data())
def test_the_rest_reads_as_before(entries: list[tuple[str, str]], data: st.DataObject) -> None:
    text = "space:\n" + "".join(f"  k{i}: {value}{comment}\n" for i, (value, comment) in enumerate(entries))
    key = f"k{data.draw(st.integers(0, len(entries) - 1))}"
    rewritten = rewrite_value(text, ("space", key), NEW)
    expected = read_yaml(text).data
    expected["space"][key] = {"log_uniform": [3.1e-4, 6.0e-3]}
    assert read_yaml(rewritten).data == expected
    assert rewritten.count("# why") == text.count("# why")
