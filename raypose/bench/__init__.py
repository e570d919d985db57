"""HOW FAST IT IS: raypose beside stock MMPose and Ray, measured in turns."""

import raypose.tuning  # noqa: F401  # it says what Ray is to do, ahead of all modules that import Ray
