"""A running experiment, watched, stopped and extended from another terminal, with real Ray and real trainings."""

from raypose.display.tables import BARS
from tests.tuning.conftest import EPOCHS, LONG, Disturbed

pytestmark = LONG


def test_it_is_watched_at_work_and_to_its_end(disturbed: Disturbed) -> None:
    code, frame = disturbed.said["watch"]
    assert code == 0 and "exp  (running), PCK" in frame and " of 1 hours spent" in frame, frame
    assert "2 of 3 ended, 1 running" in frame and " CPUs" in frame and any(bar in frame for bar in BARS), frame
    code, frames = disturbed.said["watch to the end"]
    assert code == 0 and "exp/final  (finished), PCK" in frames and "4 of 4 ended" in frames, frames


def test_a_trial_and_all_are_stopped_and_more_trials_are_added(disturbed: Disturbed) -> None:
    code, said = disturbed.said["stop --trial 1"]
    assert code == 0 and "trial 1 is pruned after epoch 2" in said, said
    code, said = disturbed.said["stop"]
    assert code == 0 and "exp is stopped; go on with: raypose restore exp" in said, said
    code, said = disturbed.said["stop again"]
    assert code == 2 and "it is not running" in said and len(said.splitlines()) == 1
    assert "estimate: about " in disturbed.home.output()
    stopped, view = disturbed.stopped, disturbed.view
    assert stopped["state"] == "interrupted"
    assert [trial["state"] for trial in stopped["trials"]] == ["complete", "pruned", "running"]
    assert disturbed.said["extend"][0] == disturbed.said["stop --trial 3"][0] == 0

    assert view["state"] == "finished" and view["total"] == 4
    assert [(trial["state"], trial["stopped"]) for trial in view["trials"]] == [
        ("complete", False),
        ("pruned", True),
        ("complete", False),
        ("pruned", True),
    ]
    assert len(view["trials"][2]["epochs"]) == EPOCHS and view["trials"][:2] == stopped["trials"][:2]
    assert view["spent"]["hours"] > stopped["spent"]["hours"] > 0 and view["spent"]["over"] is None
