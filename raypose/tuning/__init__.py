"""MANY RUNS: Ray Train inside Ray Tune, over the experiment's record. Runs in: driver, and the processes Ray starts."""
