"""What the people of the demo set look like and wear. Runs in: the CLI process."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from raypose.datasets.drawing import Canvas, Image, color, patterned, plain, random_color
from raypose.datasets.figure import Array

Rng = np.random.Generator
# From corners (x in body heights, y from the shoulders down to the hips 0..1) on the trunk to a polygon on the screen.
Patch = Callable[..., Array]


@dataclass(frozen=True)
class Outfit:
    """What a person looks like; sleeves and legs say how much of a limb is covered, 1 ends at the elbow or knee."""

    skin: Image
    hair: Image
    top: Image
    bottom: Image
    shoes: Image
    accent: Image
    sleeves: float
    legs: float
    skirt: float
    loose: float
    hair_style: str
    front: str
    back: str
    tapered: bool = True


def street_outfit(rng: Rng) -> Outfit:
    """Everyday clothes in endless combinations."""
    light, tan = np.array([190, 205, 235], np.float32), np.array([45, 65, 105], np.float32)
    skin = light + (tan - light) * np.float32(rng.random() ** 1.3) + rng.normal(0, 6, 3).astype(np.float32)
    hair = color(rng.uniform(0.03, 0.12), rng.uniform(0.1, 0.75), rng.beta(1.2, 2.2))
    top = patterned(rng, random_color(rng))
    same = rng.random() < 0.12
    return Outfit(
        skin=plain(np.clip(skin, 20, 245)),
        hair=plain(hair),
        top=top,
        bottom=top if same else patterned(rng, random_color(rng)),
        shoes=plain(random_color(rng)),
        accent=random_color(rng),
        sleeves=float(rng.choice([0.0, rng.uniform(0.3, 0.8), rng.uniform(1.2, 1.6), 1.95], p=[0.14, 0.38, 0.08, 0.4])),
        legs=float(rng.choice([rng.uniform(0.35, 0.8), rng.uniform(1.1, 1.5), 1.95], p=[0.24, 0.1, 0.66])),
        skirt=float(rng.uniform(0.4, 1.5)) if rng.random() < 0.16 else 0.0,
        loose=float(rng.uniform(1.0, 1.3)),
        hair_style=str(rng.choice(["short", "long", "bald", "cap", "bun"], p=[0.38, 0.24, 0.1, 0.18, 0.1])),
        front=str(rng.choice(["plain", "zip", "buttons", "logo", "open", "tie"])),
        back=str(rng.choice(["plain", "plain", "number", "backpack", "yoke"])),
    )


def sketch_outfit(rng: Rng) -> Outfit:
    """Flat, bright colours on a body of even tubes."""
    top, bottom, hair, shoes, accent = (
        color(rng.random(), rng.uniform(0.35, 0.9), rng.uniform(0.55, 1)) for _ in range(5)
    )
    skin = color(rng.uniform(0.02, 0.11), rng.uniform(0.2, 0.6), rng.uniform(0.5, 1))
    return Outfit(
        skin=plain(skin),
        hair=plain(hair * np.float32(0.6)),
        top=plain(top),
        bottom=plain(bottom),
        shoes=plain(shoes),
        accent=accent,
        sleeves=float(rng.choice([0.6, 1.95])),
        legs=float(rng.choice([0.6, 1.95])),
        skirt=0.0,
        loose=1.0,
        hair_style=str(rng.choice(["short", "bald"])),
        front="zip",
        back="plain",
        tapered=False,
    )


def paint_chest(canvas: Canvas, outfit: Outfit, patch: Patch) -> None:
    """Neckline, and the front of the outfit."""
    canvas.flat(patch((-0.03, -0.03), (0.03, -0.03), (0.0, 0.2)), outfit.skin[0, 0])
    if outfit.front == "zip":
        canvas.flat(patch((-0.006, 0.15), (0.006, 0.15), (0.006, 0.95), (-0.006, 0.95)), outfit.accent)
    elif outfit.front == "buttons":
        for y in (0.28, 0.45, 0.62, 0.79):
            canvas.flat(patch((-0.008, y), (0.008, y), (0.008, y + 0.05), (-0.008, y + 0.05)), outfit.accent)
    elif outfit.front == "logo":
        canvas.flat(patch((-0.045, 0.25), (0.045, 0.25), (0.045, 0.48), (-0.045, 0.48)), outfit.accent)
    elif outfit.front == "open":
        canvas.flat(patch((-0.02, 0.0), (0.02, 0.0), (0.035, 0.95), (-0.035, 0.95)), outfit.accent)
    elif outfit.front == "tie":
        canvas.flat(patch((-0.008, 0.08), (0.008, 0.08), (0.016, 0.7), (0.0, 0.8), (-0.016, 0.7)), outfit.accent)


def paint_back(canvas: Canvas, outfit: Outfit, patch: Patch) -> None:
    """The back of the outfit."""
    if outfit.back == "number":
        for x in (-0.024, 0.012):
            canvas.flat(patch((x, 0.22), (x + 0.016, 0.22), (x + 0.016, 0.55), (x, 0.55)), outfit.accent)
    elif outfit.back == "backpack":
        canvas.flat(patch((-0.06, 0.05), (0.06, 0.05), (0.07, 0.8), (-0.07, 0.8)), outfit.accent)
        canvas.flat(patch((-0.04, 0.45), (0.04, 0.45), (0.045, 0.72), (-0.045, 0.72)), outfit.accent * np.float32(0.7))
    elif outfit.back == "yoke":
        canvas.flat(patch((-0.07, 0.0), (0.07, 0.0), (0.07, 0.18), (-0.07, 0.18)), outfit.accent)
