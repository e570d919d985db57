"""Base configs: a preset or any RTMPose config, brought to the MPII layout. Runs in: GPU worker, `raypose plan`.

Only what MMEngine's Runner reads is kept. MMPose's config files leave their variables behind (`codec`, `base_lr`,
`train_pipeline` ...), and a key that changes nothing must not look as if it could be tuned.
"""

import copy
import functools
from pathlib import Path

import mmpose
from mmengine.config import Config

from raypose.errors import SpecError
from raypose.training.input_size import dicts, set_input_size

OFFICIAL = Path(mmpose.__file__).parent / ".mim" / "configs" / "body_2d_keypoint" / "rtmpose"
MPII_CONFIG = OFFICIAL / "mpii" / "rtmpose-m_8xb64-210e_mpii-256x256.py"
# The official config that defines backbone, head width and ImageNet or COCO weights of each size.
SIZE_CONFIGS = {
    "rtmpose-t": "coco/rtmpose-t_8xb256-420e_coco-256x192.py",
    "rtmpose-s": "coco/rtmpose-s_8xb256-420e_coco-256x192.py",
    "rtmpose-m": "coco/rtmpose-m_8xb256-420e_coco-256x192.py",
    "rtmpose-l": "coco/rtmpose-l_8xb256-420e_coco-256x192.py",
    "rtmpose-x": "body8/rtmpose-x_8xb256-700e_body8-halpe26-384x288.py",
}
# CSPNeXt of the person detector RTMDet-nano (MMDetection, rtmdet_nano_8xb32-100e_coco-obj365-person.py).
NANO_BACKBONE = {"deepen_factor": 0.33, "widen_factor": 0.25, "use_depthwise": True}
NANO_INPUT = "128x128"  # rtmpose-n is the size for machines without a GPU
PRESETS = ("rtmpose-n", *SIZE_CONFIGS)
RUNNER_KEYS = (
    *("model", "train_dataloader", "val_dataloader", "train_cfg", "val_cfg", "optim_wrapper", "param_scheduler"),
    *("val_evaluator", "default_hooks", "custom_hooks", "env_cfg", "log_processor", "log_level", "visualizer"),
    *("default_scope", "find_unused_parameters", "sync_bn", "model_wrapper_cfg"),
)
MPII_JOINTS = 16
# What MpiiPCKAccuracy reports, in percent: PCKh at 0.5 of the head's size, by joint group and over all, and at 0.1.
GROUPS = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
FIGURES = ("PCK", "PCK@0.1", *(f"{group} PCK" for group in GROUPS))
COLLECT = "gpu"  # MMEngine's word for gathering results by messages, gloo's too, and not as files of one machine


def base_config(model: str) -> Config:
    """The config that a trial's values change: `model` is a preset's name or the path of an RTMPose config.

    The file is run: raypose.space.trust says before whether it may be. Raises SpecError if it does not load or is not
    an RTMPose config.
    """
    return copy.deepcopy(_preset(model)) if model in PRESETS else _on_mpii(_from_file(Path(model)))


def _on_mpii(config: Config) -> Config:
    """What the Runner reads of a config, on MPII."""
    parts = {key: copy.deepcopy(config[key]) for key in RUNNER_KEYS if key in config}
    kept = Config(parts, format_python_code=False)  # else a third of a trial's start goes into beautifying its text
    _to_mpii(kept)
    return kept


@functools.cache  # read once for all trials of a lane
def _preset(name: str) -> Config:
    """The official MPII recipe around the backbone of another size."""
    config = Config.fromfile(MPII_CONFIG)
    size = Config.fromfile(OFFICIAL / SIZE_CONFIGS.get(name, SIZE_CONFIGS["rtmpose-t"]))
    config.model.backbone = size.model.backbone
    config.model.head.in_channels = size.model.head.in_channels
    if name == "rtmpose-n":
        config.model.backbone.update(NANO_BACKBONE, init_cfg=None)
        config.model.head.in_channels = round(1024 * NANO_BACKBONE["widen_factor"])
        set_input_size(config, NANO_INPUT)
    return _on_mpii(config)


def _from_file(path: Path) -> Config:
    if not path.is_file():
        raise SpecError([f"model: {path}: no such file; give a preset ({', '.join(PRESETS)}) or an RTMPose config"])
    try:
        config = Config.fromfile(path)
        student, head = config.model.get("student_cfg"), str(config.model.get("head", {}).get("type"))
    except (Exception, SystemExit) as fault:  # a config is a program, and fails as it likes
        why = " ".join(f"{type(fault).__name__}: {fault}".split())
        raise SpecError([f"model: {path}: not an RTMPose config: {why}"]) from fault
    if student:
        raise SpecError([f"model: {path}: distils into {student}; give that config, to tune it"])
    if head.split(".")[-1] not in ("RTMCCHead", "RTMWHead") or "optim_wrapper" not in config:
        raise SpecError([f"model: {path}: its head is {head}; raypose tunes RTMPose, whose head is RTMCCHead"])
    return config


def _to_mpii(config: Config) -> None:
    """Read MPII data and evaluate PCKh, whatever data set the config was written for; the pipelines stay."""
    config.model.head.out_channels = MPII_JOINTS
    for key in ("mask", "mask_weight"):  # of joints of the whole body that weigh less
        config.model.head.loss.pop(key, None)
    for node in dicts(config):
        node.pop("backend_args", None)  # files lie in the data folder, not on OpenMMLab's servers
    for name, split in (("train_dataloader", "train"), ("val_dataloader", "val")):
        config[name].dataset = {
            "type": "MpiiDataset",
            "data_root": "",
            "data_mode": "topdown",
            "ann_file": f"annotations/mpii_{split}.json",
            "data_prefix": {"img": "images/"},
            "pipeline": config[name].dataset.pipeline,
        }
    config.val_dataloader.dataset.update(test_mode=True, headbox_file="annotations/mpii_gt_val.mat")
    config.val_evaluator = {"type": "MpiiPCKAccuracy", "collect_device": COLLECT}
