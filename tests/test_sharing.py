"""How the tests are shared out: were a file's not run by one process, each process would train all that they share."""

import pytest

seen: list[int] = []


@pytest.mark.parametrize("number", range(6))
def test_one_process_runs_all_tests_of_a_file(number: int) -> None:
    seen.append(number)
    assert seen == list(range(seen[0], number + 1))
