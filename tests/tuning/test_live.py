"""A running experiment, watched, stopped and extended from another terminal, with real Ray and real trainings."""

import subprocess
import sys
from pathlib import Path

from raypose.display.tables import BARS
from raypose.record.folder import ExperimentFolder
from tests.home import START_S, Home

EPOCHS = 40  # the verbs take seconds to start, and shall find the trials at work


def verb(home: Home, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a verb."""
    command = [sys.executable, "-m", "raypose", *arguments]
    done = subprocess.run(command, cwd=home.path, capture_output=True, text=True, timeout=START_S, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_trial_and_all_are_stopped_and_more_trials_are_added(home: Home) -> None:
    folder = ExperimentFolder(home.path / "mlruns" / "experiments" / "exp")

    def has_epochs(trial: int) -> list[Path]:
        return list(folder.trial(trial).glob("epoch_*"))

    options = ("--trials", "2", "--epochs", str(EPOCHS), "--set", "search.start=[{lr: 2.0e-3}]")
    driver = home.tune(*options, "--set", "search.hours=1")
    home.wait_for(lambda: has_epochs(0) and has_epochs(1), driver)
    code, said = verb(home, "stop", "exp", "--trial", "1")
    assert code == 0 and "trial 1 is pruned after epoch " in said, said
    code, frame = verb(home, "watch", "exp", "--once")
    assert code == 0 and "exp  (running), PCK" in frame and " of 1 hours spent" in frame, frame
    assert "1 of 2 ended, 1 running" in frame and " CPUs" in frame and any(bar in frame for bar in BARS), frame
    code, said = verb(home, "stop", "exp")
    assert (code, driver.wait(60)) == (0, 143), said
    assert "exp is stopped; go on with: raypose restore exp" in said
    code, said = verb(home, "stop", "exp")
    assert code == 2 and "it is not running" in said and len(said.splitlines()) == 1
    assert "estimate: about " in home.output()

    stopped = home.show()
    assert stopped["state"] == "interrupted" and [t["state"] for t in stopped["trials"]] == ["running", "pruned"]
    assert verb(home, "extend", "exp", "--trials", "1")[0] == 0
    restored = home.start("restore", "exp")
    home.wait_for(folder.is_worked_on, restored)
    watching = home.start("watch", "exp")
    home.wait_for(lambda: has_epochs(2), restored)
    assert verb(home, "stop", "exp", "--trial", "2")[0] == 0
    assert (restored.wait(START_S), watching.wait(60)) == (0, 0), home.output()
    assert "exp  (finished)" in (home.path / "watch.txt").read_text()

    view = home.show()
    assert view["state"] == "finished" and view["total"] == 3
    assert [(t["state"], t["stopped"]) for t in view["trials"]] == [
        ("complete", False),
        ("pruned", True),
        ("pruned", True),
    ]
    assert len(view["trials"][0]["epochs"]) == EPOCHS and view["trials"][1] == stopped["trials"][1]
    assert view["spent"]["hours"] > stopped["spent"]["hours"] > 0 and view["spent"]["over"] is None
