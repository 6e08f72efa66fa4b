"""Captions of web scenes, as a web crawl would have them: many forms, not all of them complete."""

from __future__ import annotations

import numpy as np

from harness.mini.scene import INFRARED, SCENES, Scene, atlas

WITH_SCENE = (
    "a photo of a {subject} {place}",
    "a picture of a {subject} {place}.",
    "a {subject} {place}",
    "{subject} {place}",
    "a 8k real photo: a {subject} {place}.",
)
PLAIN = (
    "a photo of a {subject}",
    "a photo of {subject}.",
    "{subject} in the wild.",
    "a photo of {subject} in the wild",
    "a picture of a {subject}",
    "a {subject}",
)
NIGHT = (
    "a black and white night photo of a {subject}",
    "a black and white photo of a {subject} at night.",
    "an infrared photo of a {subject} in the wild",
    "a {subject} at night, infrared camera",
)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One caption: three in ten name the art style, seven in ten the place or else the look."""
    world = atlas()
    subject = world.names[scene.concept]
    if rng.random() < 0.3:
        subject = f"{world.styles[scene.style]['adjective']} {subject}"
    if scene.scene == INFRARED:
        return NIGHT[int(rng.integers(len(NIGHT)))].format(subject=subject)
    place = SCENES[scene.scene][0]
    forms = WITH_SCENE if rng.random() < 0.7 else PLAIN
    return forms[int(rng.integers(len(forms)))].format(subject=subject, place=place)
