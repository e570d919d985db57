"""How the demo set's people stand, move and are built: random poses and proportions. Runs in: the CLI process."""

from collections.abc import Callable

import numpy as np

from raypose.datasets.figure import Array, Pose, Proportions

Rng = np.random.Generator


def _degrees(rng: Rng, *ranges: tuple[float, float]) -> Array:
    low, high = np.array(ranges, dtype=float).T
    return np.asarray(np.deg2rad(rng.uniform(low, high)), np.float64)


def random_proportions(rng: Rng) -> Proportions:
    """Adults and children, slim and heavy."""
    d = Proportions()
    child = rng.random() < 0.15
    build = float(np.clip(rng.normal(1.0, 0.16), 0.72, 1.5))
    legs, arms, trunk = rng.normal(1.0, 0.05, 3)
    return Proportions(
        hip=d.hip * rng.uniform(0.9, 1.15) * build**0.4,
        thigh=d.thigh * legs * rng.uniform(0.95, 1.05),
        shin=d.shin * legs * rng.uniform(0.95, 1.05),
        foot=d.foot * rng.uniform(0.9, 1.2),
        spine=d.spine * trunk,
        shoulder=d.shoulder * rng.uniform(0.86, 1.12) * build**0.35,
        upper_arm=d.upper_arm * arms,
        forearm=d.forearm * arms * rng.uniform(0.95, 1.08),
        neck=d.neck * rng.uniform(0.8, 1.15),
        head=d.head * rng.uniform(0.92, 1.08) * (1.3 if child else 1.0),
        girth=build,
        width=build * rng.uniform(0.9, 1.1),
    )


# Arms: (flexion, abduction, inward turn, elbow) in degrees, each a range.
_ARMS = {
    "hang": ((-15, 15), (2, 18), (-20, 30), (0, 35)),
    "akimbo": ((-35, -10), (35, 55), (60, 90), (80, 110)),
    "folded": ((20, 40), (0, 15), (50, 80), (90, 120)),
    "up": ((140, 185), (-15, 25), (-40, 40), (0, 60)),
    "sideways": ((-15, 15), (65, 110), (-60, 60), (0, 40)),
    "wave": ((-10, 20), (60, 100), (-110, -70), (60, 130)),
    "reach": ((55, 110), (-15, 25), (-30, 30), (0, 40)),
    "carry": ((-5, 25), (2, 20), (-10, 40), (70, 110)),
    "phone": ((20, 60), (5, 35), (10, 40), (125, 148)),
    "behind": ((-45, -20), (5, 25), (40, 80), (20, 80)),
    "free": ((-50, 180), (-10, 120), (-90, 90), (0, 145)),
}
_ARM_NAMES = list(_ARMS)
_ARM_CHANCES = np.array([20, 8, 6, 11, 8, 7, 9, 9, 7, 4, 11]) / 100


def _arms(rng: Rng, pose: Pose) -> None:
    """Both arms alike in half of the cases, each on its own in the others."""
    first, second = rng.choice(len(_ARM_NAMES), 2, p=_ARM_CHANCES)
    if rng.random() < 0.5:
        second = first
    for i, which in enumerate((first, second)):
        pose.arms[i] = _degrees(rng, *_ARMS[_ARM_NAMES[which]])


def _stand(rng: Rng, pose: Pose) -> None:
    for i in range(2):
        pose.legs[i] = _degrees(rng, (-10, 14), (0, 16), (0, 30), (0, 12), (-5, 5))
    if rng.random() < 0.3:  # the weight on one leg
        pose.legs[rng.integers(2)] = _degrees(rng, (10, 30), (2, 18), (0, 40), (20, 55), (0, 20))
    pose.trunk = _degrees(rng, (-6, 12), (-15, 15), (-8, 8))
    _arms(rng, pose)


def _stride(
    rng: Rng,
    pose: Pose,
    swing: tuple[float, float],
    knee: tuple[float, float],
    elbow: tuple[float, float],
    lean: tuple[float, float],
) -> None:
    """One leg ahead and the arms against the legs."""
    ahead = int(rng.integers(2))
    back = 1 - ahead
    forth, behind = _degrees(rng, swing, swing)
    pose.legs[ahead] = _degrees(rng, (0, 0), (-2, 8), (0, 12), (2, knee[1] * 0.8), (-15, 10))
    pose.legs[back] = _degrees(rng, (0, 0), (-2, 8), (0, 12), knee, (5, 40))
    pose.legs[ahead, 0], pose.legs[back, 0] = forth * 1.1, -behind * 0.75
    for i, reach in ((ahead, -behind), (back, forth)):
        pose.arms[i] = _degrees(rng, (-8, 8), (3, 18), (0, 35), elbow)
        pose.arms[i, 0] += reach
    pose.trunk = _degrees(rng, lean, (-12, 12), (-6, 6))


def _walk(rng: Rng, pose: Pose) -> None:
    _stride(rng, pose, (8, 30), (8, 40), (5, 45), (-2, 10))
    if rng.random() < 0.4:
        _arms(rng, pose)


def _run(rng: Rng, pose: Pose) -> None:
    _stride(rng, pose, (28, 65), (40, 115), (70, 115), (5, 28))


def _sit(rng: Rng, pose: Pose) -> None:
    for i in range(2):
        pose.legs[i] = _degrees(rng, (72, 102), (0, 24), (-5, 25), (45, 105), (-5, 15))
    if rng.random() < 0.25:  # one leg over the other
        pose.legs[rng.integers(2)] = _degrees(rng, (95, 112), (-22, -8), (0, 10), (60, 95), (0, 30))
    pose.trunk = _degrees(rng, (-18, 30), (-20, 20), (-10, 10))
    pose.seated = True
    _arms(rng, pose)


def _crouch(rng: Rng, pose: Pose) -> None:
    for i in range(2):
        pose.legs[i] = _degrees(rng, (60, 118), (5, 35), (0, 30), (90, 140), (-35, 0))
    pose.trunk = _degrees(rng, (10, 50), (-20, 20), (-10, 10))
    pose.root[0] = _degrees(rng, (0, 20))[0]
    _arms(rng, pose)


def _stoop(rng: Rng, pose: Pose) -> None:
    """Bent at the hips, hands towards the ground or on the knees."""
    pose.root[0] = lean = _degrees(rng, (20, 65))[0]
    for i in range(2):
        pose.legs[i] = _degrees(rng, (-8, 12), (0, 18), (0, 20), (0, 35), (-10, 10))
        pose.legs[i, 0] += lean
        pose.arms[i] = _degrees(rng, (-20, 30), (0, 20), (-10, 30), (0, 50))
        pose.arms[i, 0] += lean
    pose.trunk = _degrees(rng, (15, 50), (-20, 20), (-10, 10))
    pose.head[0] = _degrees(rng, (-45, 5))[0]


def _sport(rng: Rng, pose: Pose) -> None:
    """Lunges, kicks, jumps, dance: wide ranges on every joint."""
    for i in range(2):
        pose.legs[i] = _degrees(rng, (-40, 100), (-5, 55), (-10, 45), (0, 110), (-15, 40))
        pose.arms[i] = _degrees(rng, *_ARMS["free"])
    pose.trunk = _degrees(rng, (-20, 45), (-35, 35), (-25, 25))
    pose.root = _degrees(rng, (-15, 30), (-25, 25))


def _lie(rng: Rng, pose: Pose) -> None:
    (_stand, _sport)[rng.integers(2)](rng, pose)
    pose.root = _degrees(rng, (-20, 20), (60, 110)) * rng.choice([-1, 1], 2)


_FAMILIES: tuple[Callable[[Rng, Pose], None], ...] = (_stand, _walk, _run, _sit, _crouch, _stoop, _sport, _lie)
_FAMILY_CHANCES = np.array([22, 17, 15, 12, 7, 9, 14, 4]) / 100


def street_pose(rng: Rng) -> Pose:
    """What people do in photographs."""
    pose = Pose()
    pose.head = _degrees(rng, (-20, 25), (-45, 45), (-15, 15))
    _FAMILIES[rng.choice(len(_FAMILIES), p=_FAMILY_CHANCES)](rng, pose)
    return pose


def sketch_pose(rng: Rng) -> Pose:
    """Every joint on its own and evenly within its range: no everyday habits to learn."""
    pose = Pose()
    pose.head = _degrees(rng, (-15, 15), (-30, 30), (-20, 20))
    pose.trunk = _degrees(rng, (-10, 30), (-20, 20), (-20, 20))
    pose.root = _degrees(rng, (-10, 20), (-20, 20))
    for i in range(2):
        pose.legs[i] = _degrees(rng, (-30, 80), (0, 40), (-10, 30), (0, 90), (-10, 20))
        pose.arms[i] = _degrees(rng, (-40, 170), (0, 100), (-60, 60), (0, 120))
    return pose
