"""Where the camera traps of the built-in world stand: one view per location, in layers by depth.

Layers are premultiplied float32 (64, 64, 4) in [0, 255]. Distances are told by the height in the
picture at which something touches the ground: 0 at the horizon, 1 at the lower border. Nothing here
takes powers or sines of arrays: their last digit depends on the processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from harness.mini.things import Colour, front, smooth, thing, tinted
from harness.mini.writing import SIDE_PX, rng_of

FRONTS = 3  # variants of what hangs in front of the lens


@dataclass(frozen=True)
class Biome:
    """What a kind of country looks like. things: name -> fewest and most of them in view."""

    above: Colour  # sky, or the dark between trunks
    behind: Colour  # of the far end: woods, hills
    wall: float  # how far up the far end reaches, in heights of the picture
    ground: Colour
    rough: float  # of the ground's texture, in grey levels
    dapple: float  # how much sunlight varies under leaves
    leaf: Colour
    bark: Colour
    front: Colour  # of blades and twigs close to the lens
    things: dict[str, tuple[int, int]]


BIOMES = {
    "rainforest": Biome(
        (34, 54, 34), (26, 46, 26), 0.5, (74, 66, 40), 15, 0.35, (44, 92, 40), (70, 58, 44),
        (40, 84, 34), {"tree": (3, 6), "fern": (2, 5), "log": (0, 2)},
    ),
    "savanna": Biome(
        (176, 202, 226), (134, 134, 88), 0.05, (186, 160, 98), 13, 0.0, (98, 112, 52),
        (96, 80, 60), (176, 152, 84), {"acacia": (1, 3), "bush": (1, 4), "rock": (0, 1)},
    ),
    "woodland": Biome(
        (146, 164, 152), (74, 88, 58), 0.3, (126, 100, 66), 17, 0.25, (84, 118, 52), (88, 76, 64),
        (92, 104, 52), {"tree": (2, 5), "bush": (0, 3), "log": (0, 2), "rock": (0, 1)},
    ),
    "meadow": Biome(
        (164, 194, 224), (62, 92, 56), 0.1, (104, 142, 62), 12, 0.0, (70, 112, 48), (88, 72, 56),
        (98, 142, 56), {"bush": (0, 3), "fence": (0, 1), "rock": (0, 2), "tree": (0, 1)},
    ),
    "desert": Biome(
        (150, 190, 228), (170, 128, 96), 0.12, (206, 170, 120), 10, 0.0, (130, 132, 86),
        (120, 96, 70), (168, 150, 96), {"bush": (2, 5), "rock": (1, 4)},
    ),
    "snow": Biome(
        (186, 198, 212), (70, 90, 86), 0.2, (230, 234, 240), 7, 0.0, (44, 74, 58), (70, 58, 50),
        (120, 112, 100), {"conifer": (2, 5), "rock": (0, 2), "log": (0, 1)},
    ),
    "riverbank": Biome(
        (160, 184, 200), (84, 110, 68), 0.12, (132, 112, 82), 11, 0.0, (92, 126, 60), (84, 70, 56),
        (112, 138, 66), {"water": (1, 1), "reed": (2, 4), "bush": (0, 2), "log": (0, 1)},
    ),
    "mountain": Biome(
        (190, 202, 212), (118, 122, 128), 0.3, (132, 130, 104), 15, 0.0, (84, 104, 64),
        (92, 84, 72), (126, 128, 84), {"rock": (3, 6), "bush": (0, 3), "conifer": (0, 2)},
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Habitat:
    """The view of one location. things: (ground, layer), the farthest first."""

    biome: str
    horizon: float  # height of the horizon over that of the picture, from above
    view: np.ndarray  # float32 (64, 64, 3), everything that stays in place
    depth: np.ndarray  # float32 (64, 64), 0 far to 1 near
    things: tuple[tuple[float, np.ndarray], ...]
    fronts: tuple[np.ndarray, ...]  # layers of what moves close to the lens
    dapple: float
    cast: np.ndarray  # (3,) colours of the camera
    noise: float  # standard deviation by day, in grey levels
    glow: tuple[float, float, float]  # infrared flash: centre x, y, and how fast it fades
    strip: int  # kind of the strip with date and time: 0 none, 1 dark, 2 light


@cache
def habitat(location: int, biome: str) -> Habitat:
    """The view of a location, a function of its number and biome."""
    rng, kind = rng_of("iwildcam", "habitat", location), BIOMES[biome]
    horizon = float(rng.uniform(0.22, 0.46))
    view, depth = _country(kind, horizon, rng)
    things = []
    for name, (fewest, most) in kind.things.items():
        for _ in range(int(rng.integers(fewest, most + 1))):
            ground = 0.0 if name == "water" else float(rng.uniform(0.04, 0.75))
            things.append((ground, thing(name, kind, ground, horizon, rng)))
    things.sort(key=lambda one: one[0])
    for ground, layer in things:
        over(view, layer)
        solid = layer[..., 3] > 127
        depth[solid] = ground or depth[solid]  # water lies flat
    return Habitat(
        biome=biome,
        horizon=horizon,
        view=view,
        depth=depth,
        things=tuple(one for one in things if one[0] > 0),
        fronts=tuple(front(kind, rng) for _ in range(FRONTS)),
        dapple=kind.dapple,
        cast=rng.uniform(0.92, 1.08, 3).astype(np.float32),
        noise=float(rng.uniform(1.5, 6)),
        glow=(float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.4, 0.7)), rng.uniform(1.2, 3.5)),
        strip=int(rng.integers(3)),
    )


def over(canvas: np.ndarray, layer: np.ndarray) -> None:
    """Lay a premultiplied layer (H, W, 4) over the canvas (H, W, 3), in place."""
    canvas *= 1 - layer[..., 3:] / 255
    canvas += layer[..., :3]


def _country(
    kind: Biome, horizon: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sky, far end and ground (64, 64, 3), and the depth of each pixel (64, 64)."""
    y, x = (np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32) + 0.5) / SIDE_PX
    y = y + float(rng.uniform(-0.06, 0.06)) * (x - 0.5)  # no camera hangs straight
    depth = np.clip((y - horizon) / (1 - horizon), 0, 1)
    above, behind, ground = (tinted(c, rng, 24) for c in (kind.above, kind.behind, kind.ground))
    view = np.zeros((SIDE_PX, SIDE_PX, 3), np.float32) + above.astype(np.float32)
    view += (22 * (0.5 - y))[..., None]
    ridge = horizon - kind.wall - 0.03 * smooth(rng, 8)[:1].repeat(SIDE_PX, 0)
    wood = np.clip((y - ridge) * 16, 0, 1)[..., None]
    speckle = kind.rough * (0.5 * smooth(rng, 16) + 0.5 * smooth(rng, 40))
    view += wood * (behind.astype(np.float32) + speckle[..., None] - view)
    near = np.clip((y - horizon) * 40, 0, 1)[..., None]
    coarse, fine = smooth(rng, 7), smooth(rng, 32)
    texture = kind.rough * ((0.3 + 0.7 * depth) * coarse + 0.7 * fine)
    soil = ground.astype(np.float32) + texture[..., None] - 18 * (1 - depth[..., None])
    if rng.random() < 0.4:
        soil = _trail(soil, ground.astype(np.float32), depth, x, rng)
    view += near * (soil - view)
    return view, depth


def _trail(
    soil: np.ndarray, bare: np.ndarray, depth: np.ndarray, x: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The soil with a path that leads away from the camera."""
    start, end, width = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.14)
    off = np.abs(x - (end + (start - end) * depth)) / (width * (0.2 + 0.8 * depth))
    worn = np.clip(1.6 - off, 0, 1)[..., None] * 0.7
    return soil + worn * (bare + rng.uniform(8, 30) - soil)
