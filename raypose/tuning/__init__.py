"""MANY RUNS: Ray Train inside Ray Tune, over the experiment's record. Runs in: driver, and the processes Ray starts.

What Ray is to do is set here, ahead of all modules of this stage, as it reads it when it is imported or started.
"""

import os

# For this process and those that it starts.
os.environ |= {
    name: os.environ.get(name, value)
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else every worker builds an environment of its own
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon a dead worker is noticed
        "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "60",  # and one that hangs
        "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_worker_maximum_startup_concurrency": str(max(8, os.cpu_count() or 1)),  # on 2 CPUs Ray warns of 8
        "RAY_agent_register_timeout_ms": "60000",  # on a busy machine Ray's 15 seconds do not do
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a worker that holds no GPU sees none: MMEngine takes what it sees
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the record is the truth; Tune's own state is never read back
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }.items()
}
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # without bytecode every worker's imports take three times as long
