"""One annotated picture of the demo set: who stands where, as the camera sees it. Runs in: the CLI process."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raypose.datasets.drawing import Canvas, Image
from raypose.datasets.figure import (
    HEAD_TOP,
    L_ANKLE,
    NECK,
    R_ANKLE,
    Array,
    Camera,
    Figure,
    Proportions,
    look_from,
    pose_figure,
)
from raypose.datasets.outfit import Outfit, sketch_outfit, street_outfit
from raypose.datasets.person import paint_person
from raypose.datasets.poses import random_proportions, sketch_pose, street_pose
from raypose.datasets.scene import (
    FLAT,
    SIZE,
    develop,
    ground_shadow,
    occlude,
    sketch_background,
    street_background,
    street_light,
)

Style = Literal["street", "sketch"]
Rng = np.random.Generator

_MARGIN = 5.0
_LEAST_INSIDE = 10  # joints that must lie inside the picture


@dataclass(frozen=True)
class Picture:
    """Pixels (H, W, 3) BGR, and the person in it, counted from pixel 0.

    `joints` (16, 2) in MPII order, `inside` (16,) whether they lie in the picture, `head_box` two corners (2, 2), and
    the square box of the person: its middle and its side.
    """

    pixels: NDArray[np.uint8]
    joints: Array
    inside: NDArray[np.bool_]
    head_box: Array
    box_middle: Array
    box_side: float


def draw_picture(rng: Rng, style: Style) -> Picture:
    """Draw one picture; it follows from the generator's state alone."""
    if style == "sketch":
        return _sketch(rng)
    return _street(rng)


def _street(rng: Rng) -> Picture:
    canvas = Canvas(street_background(rng), street_light(rng))
    figure = pose_figure(street_pose(rng), random_proportions(rng))
    camera = _aim(rng, figure, _random_view(rng))
    joints = camera.project(figure.joints)[:, :2]
    ahead = rng.random() < 0.4
    bystanders = [_bystander(rng, joints, camera.scale) for _ in range(rng.choice(3, p=[0.64, 0.28, 0.08]))]
    for person in bystanders[ahead:]:
        paint_person(canvas, *person)
    if rng.random() < 0.6:
        ground_shadow(rng, canvas.pixels, joints[[R_ANKLE, L_ANKLE]], camera.scale)
    paint_person(canvas, figure, camera, street_outfit(rng))
    for person in bystanders[:ahead]:
        paint_person(canvas, *person)
    for _ in range(rng.choice(3, p=[0.55, 0.33, 0.12])):
        occlude(rng, canvas, joints.min(0), joints.max(0))
    return _annotate(rng, develop(rng, canvas.pixels), figure, camera)


def _sketch(rng: Rng) -> Picture:
    canvas = Canvas(sketch_background(rng), FLAT)
    proportions = Proportions(head=0.145 * rng.uniform(1.0, 1.35), girth=rng.uniform(0.8, 1.2))
    figure = pose_figure(sketch_pose(rng), proportions)
    camera = _aim(rng, figure, look_from(_random_yaw(rng), 0, 0))
    paint_person(canvas, figure, camera, sketch_outfit(rng))
    return _annotate(rng, canvas.pixels, figure, camera)


def _random_yaw(rng: Rng) -> float:
    """From any side, mostly the front."""
    return float(rng.normal(0, 0.9) if rng.random() < 0.5 else rng.uniform(-np.pi, np.pi))


def _random_view(rng: Rng) -> Array:
    """At about eye level, hardly tilted."""
    return look_from(_random_yaw(rng), rng.normal(0.08, 0.14), rng.normal(0, 0.09))


def _aim(rng: Rng, figure: Figure, view: Array) -> Camera:
    """Place the person in the picture, in one case of eight cut off by its border."""
    nearness = rng.uniform(0, 0.3)
    unit = Camera(view, 1.0, np.zeros(2), nearness).project(figure.joints)[:, :2]
    low, high = unit.min(0), unit.max(0)
    scale = min(rng.uniform(0.5, 0.87) * SIZE / float((high - low).max()), 1.1 * SIZE)
    cut = rng.random() < 0.125
    room = SIZE - (high - low) * scale
    origin = -low * scale + rng.uniform(_MARGIN, room - _MARGIN)
    if cut:
        shifted = origin + [rng.normal(0, 0.12) * SIZE, rng.uniform(0, 0.35) * SIZE]
        joints = unit * scale + shifted
        inside = _inside(joints)
        if inside.sum() >= _LEAST_INSIDE and inside[[NECK, HEAD_TOP]].all():
            origin = shifted
    return Camera(view, scale, origin, nearness)


def _bystander(rng: Rng, joints: Array, scale: float) -> tuple[Figure, Camera, Outfit]:
    """Someone beside the person, near enough to overlap, never at the same place."""
    figure = pose_figure(street_pose(rng), random_proportions(rng))
    reach = np.ptp(joints[:, 0]) * 0.5 + scale * rng.uniform(0.08, 0.4)
    middle = (joints.min(0) + joints.max(0)) / 2
    origin = middle + [rng.choice([-1, 1]) * reach, rng.normal(0, 0.12) * scale]
    return figure, Camera(_random_view(rng), scale * rng.uniform(0.6, 1.15), origin), street_outfit(rng)


def _inside(joints: Array) -> NDArray[np.bool_]:
    return np.asarray(((joints >= 0) & (joints <= SIZE - 1)).all(1))


def _annotate(rng: Rng, pixels: Image, figure: Figure, camera: Camera) -> Picture:
    joints = camera.project(figure.joints)[:, :2]
    inside = _inside(joints)
    # Boxes are as loose as people draw them: up to a tenth wider than the joints, and not quite in the middle.
    low, high = joints[inside].min(0), joints[inside].max(0)
    side = float((high - low).max()) * rng.uniform(1.05, 1.2)
    middle = (low + high) / 2 + rng.normal(0, 0.015, 2) * side
    return Picture(np.clip(pixels, 0, 255).astype(np.uint8), joints, inside, _head_box(figure, camera), middle, side)


def _head_box(figure: Figure, camera: Camera) -> Array:
    """A box about the head with 0.6 of its diagonal equal to the head's length, however the head is turned.

    MPII's metric takes 0.6 of the diagonal as the size of the head.
    """
    size = figure.proportions.head * camera.scale
    half = np.array([0.8, 1.0]) * size / 0.6 / 2 / np.hypot(0.8, 1.0)
    middle = camera.project(figure.joints[[NECK, HEAD_TOP]])[:, :2].mean(0)
    return np.array([middle - half, middle + half])
