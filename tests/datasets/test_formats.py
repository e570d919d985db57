"""Sets of several formats by their names, and the check of COCO's: a sound set passes, each single fault is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raypose.datasets.formats import DataSet, SetScore, parse_set, require_sound_sets
from raypose.errors import DataError
from tests.other_formats import AIC_FILE, AIC_IMAGES, COCO_FILE, COCO_IMAGES, make_aic, make_coco


def test_sets_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_set("coco:data/coco") == DataSet("coco", Path("data/coco"))
    assert parse_set("/data/mpii") == parse_set("mpii:/data/mpii") == DataSet("mpii", Path("/data/mpii"))
    assert parse_set("aic:a:b") == DataSet("aic", Path("a:b")) and str(parse_set("aic:a:b")) == "aic:a:b"
    Path("own:set").mkdir()
    assert parse_set("own:set") == DataSet("mpii", Path("own:set"))


@pytest.mark.parametrize("text", ["cooc:x", "coco:", "", "mpii:", "x:" + "y" * 5000])
def test_what_is_no_set(text: str) -> None:
    with pytest.raises(DataError, match=f"'{text}': is no data set; one is mpii:DIR, coco:DIR, aic:DIR, or DIR of"):
        parse_set(text)


def test_what_figures_mean() -> None:
    coco = SetScore(DataSet("coco", Path("c")), 7, {"AP": 0.5}, ("left_hip", "right_hip"), ("nose",))
    assert coco.meaning == ("AP and AR from 0 to 1 of 7 people in annotated boxes; 2 of 3 joints count, without nose")
    mpii = SetScore(DataSet("mpii", Path("m")), 7, {"PCK": 50.0}, ("left_hip",), ())
    assert mpii.meaning == "PCKh in percent of 7 people in annotated boxes; 1 of 1 joints count"


@pytest.fixture(scope="module")
def made(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    make_coco(tiny_data, folder / "coco")
    make_aic(tiny_data, folder / "aic")
    return folder


@pytest.fixture
def sets(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "sets"))


def test_sound_sets(made: Path, tiny_data: Path) -> None:
    coco = parse_set(f"coco:{made}/coco")
    require_sound_sets([coco, parse_set(f"aic:{made}/aic"), parse_set(str(tiny_data))])
    with pytest.raises(DataError, match=f"{coco}: the second set of its format"):
        require_sound_sets([coco, coco])


def fault(spec: str) -> str:
    with pytest.raises(DataError) as told:
        require_sound_sets([parse_set(spec)])
    return str(told.value)


def test_missing_parts(sets: Path) -> None:
    coco, aic = sets / "coco", sets / "aic"
    assert fault(f"coco:{sets}/none") == f"{sets}/none: there is no such folder: name the one that holds {COCO_FILE}"
    assert fault(f"coco:{aic}") == f"{aic / COCO_FILE}: there is no such file: put the annotations there"
    image = sorted((coco / COCO_IMAGES).iterdir())[1]
    image.unlink()
    assert fault(f"coco:{coco}").startswith(f"{coco / COCO_IMAGES}: '{image.name}' is not there")
    shutil.rmtree(aic / AIC_IMAGES)
    assert fault(f"aic:{aic}") == f"{aic / AIC_IMAGES}: there is no such folder: put the images there"
    assert fault(f"mpii:{coco}").startswith(f"{coco} is not a sound MPII layout")


def test_images_that_are_cut_off_or_lead_elsewhere(sets: Path) -> None:
    coco = sets / "coco"
    one, other = sorted((coco / COCO_IMAGES).iterdir())[:2]
    whole = one.read_bytes()
    one.write_bytes(whole[: len(whole) // 2])
    assert "is cut off before its end marker" in fault(f"coco:{coco}")
    one.unlink()
    one.symlink_to(sets / "aic" / AIC_IMAGES / other.name)
    assert "is a link that leaves" in fault(f"coco:{coco}")


def test_images_without_people_to_evaluate_may_be_absent(sets: Path) -> None:
    file = sets / "coco" / COCO_FILE
    content = json.loads(file.read_text())
    content["images"].append({"id": 1, "file_name": "none.jpg", "width": 5, "height": 5})
    crowd = {**content["annotations"][0], "image_id": 1, "iscrowd": 1, "id": 1}
    content["annotations"] += [crowd, {**crowd, "iscrowd": 0, "bbox": [9, 0, 3, 3], "id": 2}]
    file.write_text(json.dumps(content))
    require_sound_sets([parse_set(f"coco:{sets}/coco")])


def person(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """A function that changes the second annotation; a value of None takes the key away."""

    def change(content: dict[str, Any]) -> None:
        record = content["annotations"][1]
        record.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del record[key]

    return change


def image(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["images"][1].update(changes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.pop("categories"), "is not in COCO's format: give an object with the lists images, "),
        (lambda content: content.update(images={}), "is not in COCO's format"),
        (lambda content: content["annotations"].insert(1, 5), "annotations[1] is 5, not an object: give it the keys "),
        (lambda content: content.update(annotations=[]), "no person has a labelled joint"),
        (person(id=None), "annotations[1].id is missing: give a whole number, 0 or more"),
        (person(id=-3), "annotations[1].id is -3: give a whole number, 0 or more"),
        (person(id=500_000), "annotations[1].id is 500000, like one before"),
        (person(image_id=[]), "annotations[1].image_id is []: give the id of one of the images"),
        (person(image_id=77), "annotations[1].image_id is 77: give the id of one of the images"),
        (person(category_id=2), "annotations[1].category_id is 2: give the id of one of the categories"),
        (person(bbox=[1, 2, 3]), "annotations[1].bbox is [1, 2, 3]: give four numbers, [x, y, width, height] in"),
        (person(bbox=[1, 2, 3, float("nan")]), "annotations[1].bbox is [1, 2, 3, nan]: give four numbers"),
        (person(keypoints=[0] * 42), "give 51 numbers: x, y and visibility of 17 joints"),
        (person(area=None), "annotations[1].area is missing: give the person's area in pixels"),
        (person(area="large"), "annotations[1].area is 'large': give the person's area in pixels"),
        (person(iscrowd="no"), "annotations[1].iscrowd is 'no': give 1 for a crowd, else 0"),
        (person(num_keypoints=1.5), "annotations[1].num_keypoints is 1.5: give the number of labelled joints"),
        (image(file_name="../../secret.jpg"), "images[1].file_name is '../../secret.jpg': give the name of a file in"),
        (image(width=0), "images[1].width is 0: give the image's width in pixels"),
        (image(id=139), "images[1].id is 139, like one before"),
    ],
)
def test_faults_of_annotations(sets: Path, change: Callable[[dict[str, Any]], None], told: str) -> None:
    file = sets / "coco" / COCO_FILE
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    text = fault(f"coco:{sets}/coco")
    assert text.startswith(f"{file}: ") and told in text and "\n" not in text


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000])
def test_what_is_not_json(sets: Path, text: str) -> None:
    (sets / "aic" / AIC_FILE).write_text(text)
    told = fault(f"aic:{sets}/aic")
    assert "cannot be read as JSON" in told and "\n" not in told


def test_ai_challengers_people_need_neither_area_nor_crowd(made: Path) -> None:
    people = json.loads((made / "aic" / AIC_FILE).read_text())["annotations"]
    assert people and not any({"area", "iscrowd"} & person.keys() for person in people)
