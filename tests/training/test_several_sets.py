"""Sets of several formats in one go: MMPose's own evaluators one by one give the same, and what counts on each set."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.functional.nms import oks_iou
from mmpose.registry import EVALUATORS
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from raypose.cli.app import app
from raypose.datasets.demo import render_demo
from raypose.datasets.formats import DataSet, SetScore, parse_set, require_sound_sets
from raypose.datasets.mpii import HEAD_BOXES, VAL
from raypose.errors import DataError, WeightsError
from raypose.space.run import Run
from raypose.training.base import OFFICIAL
from raypose.training.config import build_config
from raypose.training.model import build_model
from raypose.training.scores import scored
from raypose.training.several_sets import Together, evaluator_of, people_of, score_sets, shared_joints
from tests.other_formats import AIC_FILE, AIC_IMAGES, COCO_FILE, COCO_IMAGES, OF_AIC, OF_COCO, make_aic, make_coco

MakeRun = Callable[..., Run]
OWN_SIZE = {"input_size": "128x128"}  # the demo weights'
LEAST = {"mpii": 0.4, "coco": 0.4, "aic": 0.05}  # AI Challenger's joints count from a third of COCO's distances on
SHARED = range(5, 17)  # of COCO's joints


def quiet(done: int, total: int) -> None:
    """Who does not want to know how far it is."""


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataSet]:
    """The same 16 people in three formats: alone in their pictures, and two in each."""
    folder = tmp_path_factory.mktemp("sets")
    render_demo(folder / "mpii", train=1, val=16, seed=3, style="sketch")
    make_coco(folder / "mpii", folder / "coco")
    make_aic(folder / "mpii", folder / "aic")
    made = [parse_set(f"{name}:{folder / name}") for name in ("mpii", "coco", "aic")]
    require_sound_sets(made)
    return {one.format: one for one in made}


@pytest.fixture(scope="module")
def run(make_run: MakeRun, sets: dict[str, DataSet]) -> Run:
    return make_run(OWN_SIZE, weights="demo", data=sets["mpii"].folder)


@pytest.fixture(scope="module")
def together(run: Run, sets: dict[str, DataSet]) -> Together:
    return score_sets(run, [sets["coco"], sets["aic"], sets["mpii"]], quiet)


@pytest.fixture(scope="module")
def all_three(together: Together) -> list[SetScore]:
    return together.scores


def coco_metric(file: Path, use_area: bool, joints: Sequence[int], ours: Iterable[int | None]) -> dict[str, Any]:
    """MMPose's metric on `joints` of a set, which are MPII's joints `ours`."""
    converter = {"type": "KeypointConverter", "num_keypoints": len(joints)}
    to_here, from_mpii = ([(joint, place) for place, joint in enumerate(which)] for which in (joints, ours))
    return {
        "type": "CocoMetric",
        "ann_file": str(file),
        "use_area": use_area,
        "gt_converter": {**converter, "mapping": to_here},
        "pred_converter": {**converter, "mapping": from_mpii},
    }


def alone(run: Run, data: DataSet) -> dict[str, float]:
    """A set's figures by MMPose's data set, transforms, model and evaluator, and nothing of raypose but the weights."""
    init_default_scope("mmpose")
    folder, metainfo = data.folder, {"from_file": f"configs/_base_/datasets/{data.format}.py"}
    common = {"data_root": str(folder), "data_mode": "topdown", "test_mode": True}
    config = build_config(dataclasses.replace(run, fast_transforms=False, channels_last=False, fused=False))
    pipeline = config.val_dataloader.dataset.pipeline
    mpii = {"type": "MpiiDataset", "ann_file": VAL, "data_prefix": {"img": "images/"}, **common}
    coco = {"type": "CocoDataset", "ann_file": COCO_FILE, "data_prefix": {"img": f"{COCO_IMAGES}/"}, **common}
    aic = {"type": "AicDataset", "ann_file": AIC_FILE, "data_prefix": {"img": f"{AIC_IMAGES}/"}, **common}
    metric, dataset = {
        "mpii": ({"type": "MpiiPCKAccuracy"}, {**mpii, "headbox_file": str(folder / HEAD_BOXES)}),
        "coco": (coco_metric(folder / COCO_FILE, True, SHARED, OF_COCO[5:]), coco),
        "aic": (coco_metric(folder / AIC_FILE, False, range(14), OF_AIC), aic),
    }[data.format]
    if data.format != "mpii":  # what a mirrored model finds where is told by the combined set
        mpii_joints = {"from_file": "configs/_base_/datasets/mpii.py"}
        dataset = {"type": "CombinedDataset", "metainfo": mpii_joints, "datasets": [dataset], "test_mode": True}
    people = DATASETS.build({**dataset, "pipeline": pipeline})
    model, _, _ = build_model(config, run)
    model.eval()
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = parse_pose_metainfo(metainfo)
    for number in range(len(people)):
        batch = pseudo_collate([people[number]])
        with torch.no_grad():
            evaluator.process(model.val_step(batch), batch)
    return {name.removeprefix("coco/"): float(value) for name, value in evaluator.evaluate(len(people)).items()}


def assert_as_one_by_one(run: Run, scores: Sequence[SetScore]) -> None:
    for one in scores:
        own = {name: value for name, value in alone(run, one.data).items() if value >= 0}
        assert one.figures == own
        assert LEAST[one.data.format] < one.figures.get("AP .5", one.figures.get("PCK", 0) / 100) < 0.99


def test_three_sets_are_figured_as_one_by_one(run: Run, all_three: list[SetScore]) -> None:
    assert [one.data.format for one in all_three] == ["coco", "aic", "mpii"]
    assert [one.people for one in all_three] == [16, 16, 16]  # without the one who only shows a nose
    assert_as_one_by_one(run, all_three)


def test_two_sets_are_figured_as_one_by_one(
    run: Run, sets: dict[str, DataSet], all_three: list[SetScore], capfd: pytest.CaptureFixture[str]
) -> None:
    """By a loader process, and without a word where figures belong."""
    told: list[tuple[int, int]] = []
    two = score_sets(
        dataclasses.replace(run, loader_workers=1), [sets["mpii"], sets["coco"]], lambda *done: told.append(done)
    )
    assert two.scores == [all_three[2], all_three[0]]
    assert told == [(done, 33) for done in (8, 16, 24, 32, 33)]
    assert capfd.readouterr().out == ""


def test_a_set_in_mpiis_format_is_scored_as_by_itself(run: Run, together: Together) -> None:
    scores, _ = scored(run, "val", quiet)
    assert together.mpii is not None and together.mpii[0] == scores
    assert together.scores[2].figures == {name: scores.figures[name] for name in together.scores[2].figures}


def test_weights_of_a_part_are_refused(run: Run, sets: dict[str, DataSet]) -> None:
    with pytest.raises(WeightsError, match="give the weights of a whole trained model"):
        score_sets(dataclasses.replace(run, weights="none"), [sets["coco"]], quiet)


def test_what_counts_is_named(all_three: list[SetScore]) -> None:
    coco, aic, mpii = all_three
    assert coco.left_out == ("nose", "left_eye", "right_eye", "left_ear", "right_ear") and len(coco.joints) == 12
    assert aic.left_out == () and aic.joints[-2:] == ("head_top", "neck")
    assert mpii.left_out == ("pelvis", "thorax") and len(mpii.joints) == 14
    assert coco.meaning.endswith("12 of 17 joints count, without nose, left_eye, right_eye, left_ear, right_ear")


def test_joints_are_paired_as_in_mmposes_recipe_for_eight_sets() -> None:
    recipe = Config.fromfile(OFFICIAL / "body8" / "rtmpose-m_8xb512-700e_body8-halpe26-256x192.py")
    ours = {common: joint for joint, common in recipe.mpii_halpe26}
    for kind in ("coco", "aic"):
        theirs = [(joint, ours[common]) for joint, common in recipe[f"{kind}_halpe26"] if common in ours]
        known = range({"coco": 17, "aic": 14}[kind])
        assert shared_joints(kind) == [pair for pair in theirs if pair[0] in known]
    assert shared_joints("coco") == [(joint, OF_COCO[joint]) for joint in SHARED]
    assert shared_joints("aic") == list(enumerate(OF_AIC))


def test_samples_have_mpiis_joints(run: Run, sets: dict[str, DataSet]) -> None:
    init_default_scope("mmpose")
    pipeline = build_config(run).val_dataloader.dataset.pipeline
    people = DATASETS.build(people_of(list(sets.values()), pipeline))
    mpii, coco, aic = (people[number]["data_samples"] for number in (0, 16, 33))
    assert [sample.dataset_name for sample in (mpii, coco, aic)] == ["mpii", "coco", "aic"]
    assert mpii.flip_indices == coco.flip_indices == aic.flip_indices and len(mpii.flip_indices) == 16
    labelled = mpii.gt_instances.keypoints_visible[0] > 0
    for sample, joints in ((coco, OF_COCO[5:]), (aic, OF_AIC)):
        places, seen = sample.gt_instances.keypoints[0], sample.gt_instances.keypoints_visible[0, :, 0] > 0
        known = np.isin(np.arange(16), joints)
        assert (seen == labelled & known).all()
        assert places[seen] + 1 == pytest.approx(mpii.gt_instances.keypoints[0][seen], abs=1e-3)


def certainty(person: dict[str, Any]) -> np.ndarray:
    """Scores of 16 joints, for nobody else the same."""
    return np.linspace(0.5, 1, 16) - 0.01 * (person["id"] % 30)


def predicted(person: dict[str, Any], places: np.ndarray, name: str) -> dict[str, Any]:
    """What a model's sample holds of an annotated person whose 16 joints it found at `places`."""
    x, y, width, height = person["bbox"]
    box = {"bboxes": np.array([[x, y, x + width, y + height]]), "bbox_scores": np.ones(1)}
    given = {**box, "bbox_scales": np.array([[width, height]]) * 1.25}
    found = {**box, "keypoints": places[None], "keypoint_scores": certainty(person)[None]}
    about = {"id": person["id"], "img_id": person["image_id"], "category_id": 1, "dataset_name": name}
    return {**about, "pred_instances": found, "gt_instances": given}


def truth(data: DataSet) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """The annotated people, and where their joints are in MPII's order; those without a label are at (0, 0)."""
    file, joints = {"coco": (COCO_FILE, OF_COCO), "aic": (AIC_FILE, OF_AIC)}[data.format]
    people = json.loads((data.folder / file).read_text())["annotations"][:16]
    places = []
    for person in people:
        labels = np.array(person["keypoints"]).reshape(-1, 3)[:, :2]
        pairs = [(ours, labels[number]) for number, ours in enumerate(joints) if ours is not None]
        places.append(np.array([dict(pairs).get(ours, np.zeros(2)) for ours in range(16)]))
    return people, places


def figures(data: DataSet, people: Sequence[dict[str, Any]], places: Sequence[np.ndarray]) -> dict[str, float]:
    init_default_scope("mmpose")
    evaluator = EVALUATORS.build(evaluator_of([data], "PCK"))
    evaluator.dataset_meta = parse_pose_metainfo({"from_file": "configs/_base_/datasets/mpii.py"})
    for person, found in zip(people, places, strict=True):
        batch = {"inputs": [None], "data_samples": [None]}
        evaluator.process([predicted(person, found, data.format)], batch)
    return {name.split("/")[1]: value for name, value in evaluator.evaluate(len(people)).items()}


def test_joints_that_the_model_has_not_are_not_scored(sets: dict[str, DataSet]) -> None:
    people, places = truth(sets["coco"])
    assert figures(sets["coco"], people, places)["AP"] == 1.0  # though all faces are labelled
    moved = [found + [[200.0 if joint in (6, 7, 8, 9) else 0.0, 0.0] for joint in range(16)] for found in places]
    assert figures(sets["coco"], people, moved)["AP"] == 1.0
    for joint in OF_COCO[5:]:
        moved = [found + [[200.0 if number == joint else 0.0, 0.0] for number in range(16)] for found in places]
        assert figures(sets["coco"], people, moved)["AP"] < 1.0


@pytest.mark.parametrize(("kind", "use_area"), [("coco", True), ("aic", False)])
def test_any_predictions_are_figured_as_by_xtcocotools(
    sets: dict[str, DataSet], kind: str, use_area: bool, tmp_path: Path
) -> None:
    """On files of the test's own, which hold the shared joints and nothing else."""
    draw, data = np.random.default_rng(0), sets[kind]
    people, places = truth(data)
    places = [found + draw.normal(0, 6 if use_area else 2.5, found.shape) for found in places]
    file, joints = (COCO_FILE, OF_COCO) if kind == "coco" else (AIC_FILE, OF_AIC)
    shared = [number for number, ours in enumerate(joints) if ours is not None]
    content = json.loads((data.folder / file).read_text())
    for person in content["annotations"]:
        person["keypoints"] = np.array(person["keypoints"]).reshape(-1, 3)[shared].ravel().tolist()
    (tmp_path / "truth.json").write_text(json.dumps(content))
    ours = [joints[number] for number in shared]
    found = [
        {
            "image_id": person["image_id"],
            "category_id": 1,
            "bbox": person["bbox"],
            "keypoints": np.hstack([place, certainty(person)[:, None]])[ours].ravel().tolist(),
            "score": float(certainty(person)[ours].mean()),
        }
        for person, place in zip(people, places, strict=True)
    ]
    sigmas = parse_pose_metainfo({"from_file": f"configs/_base_/datasets/{kind}.py"})["sigmas"][shared]
    coco = COCO(str(tmp_path / "truth.json"))
    stock = COCOeval(coco, coco.loadRes(found), "keypoints", sigmas, use_area)
    stock.evaluate()
    stock.accumulate()
    stock.summarize()
    own = figures(data, people, places)
    assert list(own.values()) == list(stock.stats) and 0.2 < own["AP"] < 0.9


def test_people_close_together_are_not_taken_for_doubles(sets: dict[str, DataSet], tmp_path: Path) -> None:
    data = DataSet("coco", Path(shutil.copytree(sets["coco"].folder, tmp_path / "close")))
    content = json.loads((data.folder / COCO_FILE).read_text())
    person = content["annotations"][0]
    (_, (places, *_)), sigmas = truth(data), parse_pose_metainfo({"from_file": "configs/_base_/datasets/coco.py"})
    area, shared = person["bbox"][2] * person["bbox"][3] * 1.25**2, places[list(OF_COCO[5:])]

    def likeness(step: float) -> float:
        one, other = (np.c_[shared + [shift, 0], np.ones(12)].ravel() for shift in (0, step))
        return float(oks_iou(one, other[None], area, np.array([area]), sigmas["sigmas"][5:])[0])

    step = next(step for step in np.arange(0.5, 100, 0.5) if likeness(step) < 0.88)
    assert likeness(step) < 0.9 < (12 * likeness(step) + 5) / 17  # were the face's joints with both at (0, 0)
    beside = [v + step if number % 3 == 0 and v else v for number, v in enumerate(person["keypoints"])]
    content["annotations"] = [person, {**person, "keypoints": beside, "id": 1}]
    content["images"] = content["images"][:1]
    (data.folder / COCO_FILE).write_text(json.dumps(content))
    assert figures(data, content["annotations"], [places, places + [step, 0]])["AR"] == 1.0


def test_a_set_without_a_joint_that_counts(run: Run, sets: dict[str, DataSet], tmp_path: Path) -> None:
    data = DataSet("coco", Path(shutil.copytree(sets["coco"].folder, tmp_path / "faces")))
    content = json.loads((data.folder / COCO_FILE).read_text())
    for person in content["annotations"]:
        person["keypoints"][15:] = [0] * 36
    (data.folder / COCO_FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match="no person shows a joint that MPII's people have too"):
        score_sets(run, [data], quiet)


@pytest.mark.parametrize("fast", [True, False])
def test_an_image_that_cannot_be_decoded(run: Run, sets: dict[str, DataSet], tmp_path: Path, fast: bool) -> None:
    data = DataSet("aic", Path(shutil.copytree(sets["aic"].folder, tmp_path / "damaged")))
    image = sorted((data.folder / AIC_IMAGES).iterdir())[2]
    whole = bytearray(image.read_bytes())
    whole[200:-200] = b"\0" * (len(whole) - 400)
    image.write_bytes(whole)
    require_sound_sets([data])  # both its ends are whole
    with pytest.raises(
        DataError, match=f"{AIC_IMAGES}: an image that cannot be used: '{image.name}' cannot be decoded"
    ):
        score_sets(dataclasses.replace(run, fast_transforms=fast), [data], quiet)


def test_the_verb_tells_of_all_sets(
    sets: dict[str, DataSet], all_three: list[SetScore], capsys: pytest.CaptureFixture[str]
) -> None:
    data = [word for one in ("coco", "aic", "mpii") for word in ("--data", str(sets[one]))]
    app(["test", "demo", *data, "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert [each["figures"] for each in found["other_formats"]] == [one.figures for one in all_three[:2]]
    assert [each["name"] for each in found["other_formats"]] == [str(sets["coco"]), str(sets["aic"])]
    (mpii,) = found["sets"]
    assert {name: mpii["figures"][name] for name in all_three[2].figures} == all_three[2].figures
    assert found["other_formats"][0]["left_out"][0] == "nose" and len(mpii["curve"]) == 10
