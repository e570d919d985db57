"""HOW FAST IT IS: raypose beside stock MMPose, measured in turns in one process."""
