"""One drawn person of the demo set, painted part by part, the farthest first. Runs in: the CLI process.

Left and right can always be told: face or hair, the front or back of the clothes, the direction of the shoes, and
which limb hides which.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raypose.datasets.drawing import Canvas, Image, disc, ellipse
from raypose.datasets.figure import (
    ARMS,
    HEAD_TOP,
    LEGS,
    NECK,
    PELVIS,
    THORAX,
    Array,
    Camera,
    Figure,
)
from raypose.datasets.head import Head
from raypose.datasets.outfit import Outfit, paint_back, paint_chest

Part = tuple[float, Callable[[], None]]  # the depth that orders it, and the act of painting it


@dataclass
class _Painter:
    """Collects the parts of one person, then paints them from the farthest to the nearest."""

    canvas: Canvas
    figure: Figure
    camera: Camera
    outfit: Outfit

    def __post_init__(self) -> None:
        self.parts: list[Part] = []
        self.joints = self.camera.project(self.figure.joints)
        self.girth = self.camera.scale * self.figure.proportions.girth**0.7

    def at(self, point: Array, frame: Array, offset: tuple[float, float, float]) -> Array:
        return self.camera.project(point + frame @ np.array(offset))

    def tube(
        self,
        ends: tuple[Array, Array],
        radii: tuple[float, float, float],
        cloth: Image,
        depth: float,
        covered: tuple[float, float] = (0.0, 1.0),
        loose: float = 1.0,
    ) -> None:
        """A limb between two projected points with radii (part of the height) at its start, first third and end."""
        start, end = ends
        if not self.outfit.tapered:
            radii = (float(np.mean(radii)),) * 3
        stops = np.array(sorted({covered[0], min(max(0.33, covered[0]), covered[1]), covered[1]}))
        widths = np.interp(stops, [0, 0.33, 1], radii) * self.girth * loose
        outlines = [disc(start + (end - start) * t, w) for t, w in zip(stops, widths, strict=True)]
        half = float(widths.max())
        self.parts.append((depth, lambda: self.canvas.solid(outlines, cloth, (start, end), half)))

    def limb(
        self,
        ends: tuple[Array, Array, Array],
        upper: tuple[float, float, float],
        lower: tuple[float, float, float],
        cloth: Image,
        covered: float,
        bias: float,
    ) -> None:
        """Two tubes of skin, clothed from the root on over `covered` of their two lengths."""
        root, middle, end = ends
        for i, (pair, radii) in enumerate((((root, middle), upper), ((middle, end), lower))):
            depth = float(pair[0][2] + pair[1][2]) / 2 + bias
            reach = min(max(covered - i, 0.0), 1.0)
            if reach < 0.9:
                self.tube(pair, radii, self.outfit.skin, depth)
            if reach > 0.05:
                self.tube(pair, radii, cloth, depth + 1e-4, (0.0, reach), self.outfit.loose)

    def legs(self) -> None:
        for i, limb in enumerate(LEGS):
            hip, knee, ankle = self.joints[list(limb)]
            self.limb(
                (hip, knee, ankle),
                (0.055, 0.05, 0.034),
                (0.034, 0.036, 0.021),
                self.outfit.bottom,
                self.outfit.legs,
                -0.06,
            )
            heel, toe = self.camera.project(self.figure.heels[i]), self.camera.project(self.figure.toes[i])
            depth = max(float(ankle[2]), float(heel[2] + toe[2]) / 2) - 0.055
            self.tube((ankle, heel), (0.024, 0.024, 0.022), self.outfit.shoes, depth)
            self.tube((heel, toe), (0.023, 0.024, 0.018), self.outfit.shoes, depth + 1e-4)

    def arms(self) -> None:
        for i, limb in enumerate(ARMS):
            shoulder, elbow, wrist = self.joints[list(limb)]
            hand = self.camera.project(self.figure.hands[i])
            self.tube((wrist, hand), (0.018, 0.021, 0.014), self.outfit.skin, float(wrist[2] + hand[2]) / 2)
            self.limb(
                (shoulder, elbow, wrist),
                (0.034, 0.03, 0.024),
                (0.024, 0.026, 0.017),
                self.outfit.top,
                self.outfit.sleeves,
                0.0,
            )

    def trunk(self) -> None:
        """Shirt and waist: rings about the spine, wider than deep, so that every view has its own outline."""
        p, width = self.figure.proportions, self.figure.proportions.width
        pelvis, thorax = self.figure.joints[PELVIS], self.figure.joints[THORAX]
        upper, lower = self.figure.trunk_frame, self.figure.pelvis_frame
        loose = self.outfit.loose**0.5
        rings = [
            self.ring(thorax, upper, 0.004, p.shoulder * 0.8, 0.036),
            self.ring(thorax, upper, -0.05, p.shoulder * 0.92, 0.058 * width),
            self.ring(thorax, upper, -0.6 * p.spine, 0.076 * width * loose, 0.055 * width),
            self.ring(pelvis, lower, 0.02, (p.hip + 0.03) * width**0.5 * loose, 0.06 * width),
            self.ring(pelvis, lower, -0.035, (p.hip + 0.028) * width**0.5 * loose, 0.06 * width),
        ]
        depth = float(self.joints[PELVIS, 2] + self.joints[THORAX, 2]) / 2 - 0.012
        axis, half = (self.joints[THORAX], self.joints[PELVIS]), float(np.ptp(rings[2], axis=0).max()) * 0.6
        self.parts.append((depth - 2e-4, lambda: self.canvas.solid(rings[3:], self.outfit.bottom, axis, half)))
        self.parts.append((depth, lambda: self.canvas.solid(rings[:4], self.outfit.top, axis, half)))
        self.parts.append((depth + 2e-4, self.decorate))
        self.tube((self.joints[THORAX], self.joints[NECK]), (0.032, 0.03, 0.03), self.outfit.skin, depth - 1e-4)
        if self.outfit.skirt:
            self.skirt(depth - 3e-4)

    def ring(self, point: Array, frame: Array, up: float, sideways: float, forward: float) -> Array:
        center = self.at(point, frame, (0, up, 0))
        axes = (self.camera.view @ frame)[:2, [0, 2]].T * [[sideways], [forward]] * self.camera.scale
        return ellipse(center, axes)

    def skirt(self, depth: float) -> None:
        hips, knees, ankles = (self.joints[[leg[i] for leg in LEGS]] for i in range(3))
        t = self.outfit.skirt
        ends = hips + (knees - hips) * min(t, 1) + (ankles - knees) * max(t - 1, 0)
        hem = np.concatenate([disc(end, self.girth * 0.05 * self.outfit.loose) for end in ends])
        waist = np.concatenate([disc(hip, self.girth * 0.045) for hip in hips])
        axis = (self.joints[PELVIS], ends.mean(0))
        # Above the thighs, which are painted with the same bias, unless a raised knee is far ahead.
        depth = max(depth, float(self.joints[[leg[1] for leg in LEGS], 2].max()) - 0.05)
        self.parts.append((depth, lambda: self.canvas.solid([waist, hem], self.outfit.bottom, axis, self.girth * 0.1)))

    def head(self) -> None:
        length = self.figure.proportions.head
        middle = self.figure.joints[HEAD_TOP] - self.figure.head_frame @ np.array([0, length / 2, 0])
        head, o = Head(self.canvas, self.camera, middle, self.figure.head_frame, length), self.outfit
        depth = float(self.joints[NECK, 2] + self.joints[HEAD_TOP, 2]) / 2 + 0.02
        self.parts.append((depth, lambda: head.paint(o.skin, o.hair, o.hair_style, o.accent)))

    def decorate(self) -> None:
        """What tells the chest from the back."""
        frame, depth = self.figure.trunk_frame, 0.056 * self.figure.proportions.width
        facing = float((self.camera.view @ frame)[2, 2])
        if abs(facing) < 0.12:
            return
        thorax, spine = self.figure.joints[THORAX], self.figure.proportions.spine
        ahead = depth if facing > 0 else -depth

        def patch(*corners: tuple[float, float]) -> Array:
            return np.array([self.at(thorax, frame, (x, -y * spine, ahead))[:2] for x, y in corners])

        paint = paint_chest if facing > 0 else paint_back
        paint(self.canvas, self.outfit, patch)


def paint_person(canvas: Canvas, figure: Figure, camera: Camera, outfit: Outfit) -> None:
    """Paint all parts of a person, the farthest first."""
    painter = _Painter(canvas, figure, camera, outfit)
    painter.legs()
    painter.trunk()
    painter.head()
    painter.arms()
    for _, paint in sorted(painter.parts, key=lambda part: part[0]):
        paint()
