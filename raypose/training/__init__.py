"""ONE TRAINING RUN: a trial's values -> a config -> a trained model. Runs in: GPU worker, and `raypose plan`.

Importing this package makes mmpose importable on today's stack, so every module below may import mmpose as usual.
"""

from raypose.training.compat import install

install()
