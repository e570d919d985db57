"""The drawn head of the demo set: an ellipsoid with hair and, where it is seen, a face. Runs in: the CLI process."""

from dataclasses import dataclass

import numpy as np

from raypose.datasets.drawing import Canvas, Image, disc, plain
from raypose.datasets.figure import Array, Camera

# Half axes of the head as parts of its length: sideways, up, forward.
_AXES = np.array([0.39, 0.5, 0.45])
_TURN = np.linspace(0, 2 * np.pi, 24, False)


@dataclass(frozen=True)
class Head:
    """A head of the given length (body heights) about `center`, seen by `camera`."""

    canvas: Canvas
    camera: Camera
    center: Array
    frame: Array
    length: float

    def outline(self) -> Array:
        """The silhouette as a polygon."""
        turns, axes, _ = np.linalg.svd(self._matrix()[:2] * self.camera.scale)
        rim: Array = np.stack([np.cos(_TURN), np.sin(_TURN)], 1) @ (turns * axes).T
        return self._middle() + rim

    def spot(self, x: float, y: float) -> Array | None:
        """Where a point of the face lies on the screen, or None where the head hides it; x, y in -1..1."""
        seen = self._matrix() @ np.array([x, y, np.sqrt(max(1 - x * x - y * y, 0))])
        return self._middle() + seen[:2] * self.camera.scale if seen[2] > 0.02 * self.length else None

    def cap(self, angle: float, tilt: float) -> Array | None:
        """The part of the surface within `angle` of forward, lowered by `tilt`; None where it is all turned away."""
        c, s = np.cos(angle), np.sin(angle)
        rim = np.stack([s * np.cos(_TURN), s * np.sin(_TURN), np.full_like(_TURN, c)], 1)
        rim = rim @ np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
        seen = rim @ self._matrix().T
        hidden = seen[:, 2] < 0
        if hidden.all():
            return None
        flat: Array = seen[:, :2] * self.camera.scale
        turns, axes, _ = np.linalg.svd(self._matrix()[:2] * self.camera.scale)
        # What lies behind the horizon is moved out to the silhouette.
        radius = np.linalg.norm(flat @ turns / axes, axis=1, keepdims=True)
        return self._middle() + np.where(hidden[:, None], flat / np.maximum(radius, 1e-6), flat)

    def _middle(self) -> Array:
        return self.camera.project(self.center)[:2]

    def _matrix(self) -> Array:
        return np.asarray(self.camera.view @ self.frame * (_AXES * self.length))

    def paint(self, skin: Image, hair: Image, style: str, accent: Image) -> None:
        """Hair first, then the face, its features, and what is worn on the head."""
        cover = {"bald": skin, "cap": plain(accent)}.get(style, hair)
        faces_us = float((self.camera.view @ self.frame)[2, 2]) > 0
        if style == "cap" and not faces_us:
            self._brim(cover)
        if style in ("long", "bun"):
            self._extra_hair(hair, style)
        self._solid([self.outline()] * 2, cover)
        face = self.cap(1.25, 0.35)
        if face is not None:
            self.canvas.flat(face, skin[0, 0])
            self._features(skin[0, 0])
        self._ears(skin[0, 0] * np.float32(0.88))
        if style == "cap" and faces_us:
            self._brim(cover)

    def _solid(self, outlines: list[Array], cloth: Image) -> None:
        self.canvas.solid(outlines, cloth, (self._point(0, 1, 0), self._point(0, -1, 0)), self._half())

    def _half(self) -> float:
        """About half the head's breadth in pixels."""
        return 0.42 * self.length * self.camera.scale

    def _ears(self, tint: Image) -> None:
        for side in (-1.0, 1.0):
            if (self.camera.view @ self.frame @ np.array([side, 0, 0]))[2] > -0.3:
                self.canvas.flat(disc(self._point(side, -0.05, -0.05), self._half() * 0.18), tint)

    def _brim(self, cloth: Image) -> None:
        places = [(-0.4, 0.42, 0.75), (0.4, 0.42, 0.75), (0.25, 0.32, 1.45), (-0.25, 0.32, 1.45)]
        corners = np.concatenate([disc(self._point(*place), self._half() * 0.08) for place in places])
        self._solid([corners, corners], cloth * np.float32(0.8))

    def _point(self, x: float, y: float, z: float) -> Array:
        """A point in units of the head's half axes, on the screen."""
        seen: Array = self._matrix() @ np.array([x, y, z]) * self.camera.scale
        return self._middle() + seen[:2]

    def _extra_hair(self, hair: Image, style: str) -> None:
        places = [(0, 0.2, -0.35), (0, -0.5, -0.5), (0, -1.25, -0.45)] if style == "long" else [(0, 0.75, -0.85)] * 2
        radius = self._half() * (0.95 if style == "long" else 0.45)
        self._solid([disc(self._point(*place), radius) for place in places], hair)

    def _features(self, skin: Image) -> None:
        size = self.length * self.camera.scale
        dark = np.array([25, 25, 30], np.float32)
        for x in (-0.4, 0.4):
            eye = self.spot(x, 0.08)
            if eye is not None:
                self.canvas.flat(disc(eye, size * 0.05), dark)
        mouth = [self.spot(x, y) for x, y in ((-0.25, -0.5), (0.25, -0.5), (0.2, -0.6), (-0.2, -0.6))]
        corners = [corner for corner in mouth if corner is not None]
        if len(corners) == 4:
            self.canvas.flat(np.array(corners), np.array([60, 50, 150], np.float32))
        nose = self.frame @ np.array([0, 0, 1.0])
        if (self.camera.view @ nose)[2] > -0.35:
            self.canvas.flat(disc(self._point(0, -0.15, 1.02), size * 0.06), skin * np.float32(0.85))
