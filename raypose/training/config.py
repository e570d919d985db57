"""Base config + a trial's values + where and on what it runs = a config that MMEngine's Runner trains.

Runs in: GPU worker, `raypose plan`.
"""

from mmengine.config import Config

from raypose.datasets.mpii import VAL
from raypose.datasets.split import split_rows
from raypose.space.run import Run
from raypose.training.input_size import dicts
from raypose.training.knobs import apply_knobs
from raypose.training.people import People
from raypose.training.schedule import fitted_config

SYNC_BN, PLAIN_BN = "SyncBN", "BN"


def build_config(run: Run) -> Config:
    """The runnable config of a trial. Raises SpecError for a value that the base config cannot take."""
    config = fitted_config(run)
    apply_knobs(config, run)
    _place(config, run)
    _leave_to_raypose(config, run)
    return config


def _place(config: Config, run: Run) -> None:
    """Fit the config to the data folder and the device."""
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.dataset.update(type=f"{People.__module__}.{People.__name__}", data_root=str(run.data))
        loader.num_workers = run.loader_workers
        # New loader processes learn in each epoch which one it is, and so draw what a resumed training draws.
        loader.persistent_workers = False
        loader.pop("prefetch_factor", None)
    config.val_dataloader.dataset.headbox_file = str(run.data / "annotations" / "mpii_gt_val.mat")
    if run.held_out:
        config.val_dataloader.dataset.indices = split_rows(run.data / VAL, run.held_out, "val")
    config.train_dataloader.sampler.seed = run.seed
    if run.amp:
        config.optim_wrapper.update(type="AmpOptimWrapper", dtype="float16")
    if not run.gpu or run.workers == 1:  # MMEngine would put new modules, not frozen ones, in SyncBN's place
        for norm in (node for node in dicts(config.model) if node.get("type") == SYNC_BN):
            norm["type"] = PLAIN_BN
    if not run.gpu:  # MMEngine would wrap the model for the GPU of the local rank
        wrapper = {"type": "MMDistributedDataParallel", "broadcast_buffers": False, "device_ids": None}
        config.model_wrapper_cfg = wrapper


def _leave_to_raypose(config: Config, run: Run) -> None:
    """Take out of the config what raypose does itself: checkpoints, seeds, reports; keep MMEngine's text log."""
    # With a rule for parameters, MMEngine leaves the frozen ones out of the optimizer; without any it takes them all.
    config.optim_wrapper.paramwise_cfg = config.optim_wrapper.get("paramwise_cfg") or {"bypass_duplicate": True}
    for hook in ("visualization", "badcase"):
        config.default_hooks.pop(hook, None)
    config.default_hooks.checkpoint = None
    config.default_hooks.logger = {"type": "LoggerHook", "interval": 50, "log_metric_by_epoch": True}
    config.visualizer = {"type": "PoseLocalVisualizer", "vis_backends": []}
    config.env_cfg.dist_cfg.backend = "nccl" if run.gpu else "gloo"
    config.update(
        launcher="pytorch" if run.workers > 1 else "none",
        load_from=None,
        resume=False,
    )
