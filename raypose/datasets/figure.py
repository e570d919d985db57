"""The articulated body of the demo set: proportions, angles, forward kinematics, camera. Runs in: the CLI process.

Body axes: x to the person's left, y up, z forward; the pelvis is the origin and a standing person is about 1 high.
Screen axes: x right, y down in pixels (a pixel's centre is a whole number), and depth towards the viewer.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE, PELVIS, THORAX, NECK, HEAD_TOP = range(10)
R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST = range(10, 16)

# Of each limb, right then left: the root joint, the middle joint and the end joint.
LEGS = ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE))
ARMS = ((R_SHOULDER, R_ELBOW, R_WRIST), (L_SHOULDER, L_ELBOW, L_WRIST))
SIDES = (-1.0, 1.0)
DOWN = np.array([0.0, -1.0, 0.0])
FORWARD = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Proportions:
    """Lengths as parts of a standing person's height; `girth` and `width` multiply the thickness of limbs and trunk."""

    hip: float = 0.055
    thigh: float = 0.245
    shin: float = 0.235
    foot: float = 0.1
    spine: float = 0.285
    shoulder: float = 0.103
    upper_arm: float = 0.165
    forearm: float = 0.145
    neck: float = 0.05
    head: float = 0.145
    girth: float = 1.0
    width: float = 1.0


def _zeros(*shape: int) -> Array:
    return np.zeros(shape)


@dataclass
class Pose:
    """Joint angles in radians; the rows of `legs` and `arms` are right, left.

    `trunk` and `head`: forward lean, twist to the left, lean to the left, each relative to its parent;
    `legs`: hip flexion, abduction, outward turn, knee flexion, foot pointing; `arms`: flexion, abduction, inward turn,
    elbow flexion; `root`: the whole body's forward pitch and its roll.
    """

    trunk: Array = field(default_factory=lambda: _zeros(3))
    head: Array = field(default_factory=lambda: _zeros(3))
    legs: Array = field(default_factory=lambda: _zeros(2, 5))
    arms: Array = field(default_factory=lambda: _zeros(2, 4))
    root: Array = field(default_factory=lambda: _zeros(2))
    seated: bool = False


@dataclass(frozen=True)
class Figure:
    """A posed body in body axes: joints in MPII order (16, 3), hands and feet (2, 3) right then left, frames."""

    joints: Array
    hands: Array
    heels: Array
    toes: Array
    pelvis_frame: Array
    trunk_frame: Array
    head_frame: Array
    proportions: Proportions


def rotation_x(angle: float) -> Array:
    """Rotation about x; a positive angle leans an upright body forward."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> Array:
    """Rotation about y; a positive angle turns a body to its left."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> Array:
    """Rotation about z; a positive angle moves what hangs down to the person's left."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _bend(angles: Array) -> Array:
    lean, twist, side = angles
    return rotation_y(twist) @ rotation_x(lean) @ rotation_z(-side)


def pose_figure(pose: Pose, proportions: Proportions) -> Figure:
    """Forward kinematics from the pelvis outwards."""
    p = proportions
    joints = np.zeros((16, 3))
    hands, heels, toes = np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3))
    pelvis_frame = rotation_z(pose.root[1]) @ rotation_x(pose.root[0])
    trunk_frame = pelvis_frame @ _bend(pose.trunk)
    head_frame = trunk_frame @ _bend(pose.head)
    joints[THORAX] = trunk_frame @ [0, p.spine, 0]
    # The neck follows half of the head's turn.
    joints[NECK] = joints[THORAX] + trunk_frame @ _bend(pose.head / 2) @ [0, p.neck, 0]
    joints[HEAD_TOP] = joints[NECK] + head_frame @ [0, p.head, 0]
    for i, side in enumerate(SIDES):
        root, knee, ankle = LEGS[i]
        flexion, abduction, turn, bend, pointing = pose.legs[i]
        frame = pelvis_frame @ rotation_z(side * abduction) @ rotation_x(-flexion) @ rotation_y(side * turn)
        shin_frame = frame @ rotation_x(bend)
        foot_frame = shin_frame @ rotation_x(pointing)
        joints[root] = pelvis_frame @ [side * p.hip, -0.01, 0]
        joints[knee] = joints[root] + frame @ DOWN * p.thigh
        joints[ankle] = joints[knee] + shin_frame @ DOWN * p.shin
        heels[i] = joints[ankle] + foot_frame @ [0, -0.026, -0.018]
        toes[i] = heels[i] + foot_frame @ [side * 0.015, -0.004, p.foot]
        root, elbow, wrist = ARMS[i]
        flexion, abduction, turn, bend = pose.arms[i]
        frame = trunk_frame @ rotation_z(side * abduction) @ rotation_x(-flexion) @ rotation_y(-side * turn)
        lower_frame = frame @ rotation_x(-bend)
        joints[root] = joints[THORAX] + trunk_frame @ [side * p.shoulder, -0.012, 0]
        joints[elbow] = joints[root] + frame @ DOWN * p.upper_arm
        joints[wrist] = joints[elbow] + lower_frame @ DOWN * p.forearm
        hands[i] = joints[wrist] + lower_frame @ DOWN * 0.05
    return Figure(joints, hands, heels, toes, pelvis_frame, trunk_frame, head_frame, p)


@dataclass(frozen=True)
class Camera:
    """A weak perspective view: `view` turns body axes into (right, down, towards the viewer)."""

    view: Array
    scale: float
    origin: Array
    nearness: float = 0.0

    def project(self, points: Array) -> Array:
        """(..., 3) in body axes to (..., 3): x and y in pixels, and depth in body heights."""
        seen = points @ self.view.T
        size = self.scale / (1 - self.nearness * seen[..., 2:])
        return np.concatenate([seen[..., :2] * size + self.origin, seen[..., 2:]], axis=-1)


def look_from(yaw: float, pitch: float, roll: float) -> Array:
    """The view matrix of a camera; at yaw 0 the person faces it, and a positive pitch looks down from above."""
    # In camera axes y still points up and a person who faces the camera looks along +z, so only y is flipped.
    return np.diag([1.0, -1.0, 1.0]) @ rotation_z(roll) @ rotation_x(pitch) @ rotation_y(yaw)
