"""Build the sprite atlas and its index from three emoji packages on npm.

Run ``python -m harness.mini.build_sprites --packages DIR --out harness/mini/sprites``. DIR holds
each package unpacked under the folder named in ``PACKAGES``; ``--fetch`` fills it with ``npm
pack``. Pillow is needed, and resvg_py (tried with 0.5.0) to draw the Fluent vectors.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

from harness.mini.sprite_concepts import Concept, all_concepts

CELL_PX = 64
FLUENT_OVERSAMPLING = 4  # drawn larger and averaged down, for smooth inner edges

# folder under --packages: (npm package, version)
PACKAGES = {
    "emoji-datasource-google": ("emoji-datasource-google", "16.0.0"),
    "emoji-datasource-twitter": ("emoji-datasource-twitter", "16.0.0"),
    "iconify-json-fluent-emoji": ("@iconify-json/fluent-emoji", "1.2.7"),
}

# Atlas columns, left to right, with the word that stands for the style in captions.
STYLES = [
    {"name": "noto", "adjective": "glossy"},
    {"name": "twemoji", "adjective": "flat"},
    {"name": "fluent", "adjective": "soft"},
]


def is_needed(path: str) -> bool:
    """Say whether a file of a package is one that the build reads."""
    return path in ("package.json", "emoji.json", "icons.json") or path.startswith(
        ("img/google/64/", "img/twitter/64/")
    )


def fetch_packages(packages: Path) -> None:
    """Download each package with ``npm pack`` and unpack the files that the build reads."""
    packages.mkdir(parents=True, exist_ok=True)
    for folder, (package, version) in PACKAGES.items():
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
        done = subprocess.run(command, cwd=packages, check=True, capture_output=True, text=True)
        tarball = packages / done.stdout.split()[-1]
        with tarfile.open(tarball) as archive:
            for member in archive.getmembers():
                member.name = member.name.partition("/")[2]
                if is_needed(member.name):
                    archive.extract(member, packages / folder, filter="data")
        tarball.unlink()


def check_versions(packages: Path) -> None:
    """Refuse packages of other versions than the atlas was made from."""
    for folder, (package, version) in PACKAGES.items():
        installed = json.loads((packages / folder / "package.json").read_text("utf-8"))["version"]
        if installed != version:
            raise ValueError(f"{package} is {installed}, expected {version}")


def png_sprite(packages: Path, vendor: str, codepoint: str) -> Image.Image:
    """Read one ready-made picture of the "google" or "twitter" package."""
    name = f"{codepoint.lower()}.png"
    path = packages / f"emoji-datasource-{vendor}" / "img" / vendor / str(CELL_PX) / name
    with Image.open(path) as image:
        return image.convert("RGBA")


def vendor_codepoints(packages: Path, vendor: str) -> set[str]:
    """Return the codepoints that a vendor drew itself, so that no stand-in is taken."""
    path = packages / f"emoji-datasource-{vendor}" / "emoji.json"
    entries = json.loads(path.read_text("utf-8"))
    return {entry["unified"] for entry in entries if entry[f"has_img_{vendor}"]}


def fluent_sprite(icon_set: dict[str, Any], name: str) -> Image.Image:
    """Draw one Fluent icon at the size of a cell."""
    import resvg_py  # only this build step needs a vector rasteriser

    icon = icon_set["icons"][name]
    width = icon.get("width", icon_set["width"])
    height = icon.get("height", icon_set["height"])
    side = CELL_PX * FLUENT_OVERSAMPLING
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{side}" height="{side}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side))
    with Image.open(io.BytesIO(png)) as image:
        return image.convert("RGBA").resize((CELL_PX, CELL_PX), Image.Resampling.BOX)


def build_atlas(packages: Path, concepts: list[Concept]) -> Image.Image:
    """Paste every concept in every style: a row per concept, a column per style."""
    vendors = ("google", "twitter")
    drawn = {vendor: vendor_codepoints(packages, vendor) for vendor in vendors}
    icons_path = packages / "iconify-json-fluent-emoji" / "icons.json"
    icon_set = json.loads(icons_path.read_text("utf-8"))
    atlas = Image.new("RGBA", (len(STYLES) * CELL_PX, len(concepts) * CELL_PX))
    for row, concept in enumerate(concepts):
        for vendor in vendors:
            if concept.codepoint not in drawn[vendor]:
                raise ValueError(f"{vendor} has no picture of {concept.name}")
        sprites = [png_sprite(packages, vendor, concept.codepoint) for vendor in vendors]
        sprites.append(fluent_sprite(icon_set, concept.fluent))
        for column, sprite in enumerate(sprites):
            if sprite.size != (CELL_PX, CELL_PX):
                raise ValueError(f"a picture of {concept.name} is {sprite.size}")
            atlas.paste(sprite, (column * CELL_PX, row * CELL_PX))
    return atlas


def index_text(concepts: list[Concept]) -> str:
    """Write the index as JSON with one concept per line."""
    rows = [
        {
            "name": concept.name,
            "codepoint": concept.codepoint,
            "cifar100": concept.cifar100,
            "animal": concept.scientific is not None,
            "scientific": concept.scientific,
            "group": concept.group,
        }
        for concept in concepts
    ]
    styles = ",\n".join(f"  {json.dumps(style)}" for style in STYLES)
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    return f'{{\n"cell_px": {CELL_PX},\n"styles": [\n{styles}\n],\n"concepts": [\n{lines}\n]\n}}\n'


def main() -> None:
    """Build the atlas and the index from the command line."""
    parser = argparse.ArgumentParser(description="Build the sprite atlas and its index.")
    parser.add_argument("--packages", type=Path, required=True, help="the unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--fetch", action="store_true", help="run npm pack into --packages first")
    arguments = parser.parse_args()
    if arguments.fetch:
        fetch_packages(arguments.packages)
    check_versions(arguments.packages)
    concepts = all_concepts()
    atlas = build_atlas(arguments.packages, concepts)
    arguments.out.mkdir(parents=True, exist_ok=True)
    atlas.save(arguments.out / "atlas.webp", lossless=True, quality=100, method=6)
    (arguments.out / "index.json").write_text(index_text(concepts), "utf-8")
    animals = sum(concept.scientific is not None for concept in concepts)
    named = sum(concept.cifar100 is not None for concept in concepts)
    print(f"{len(concepts)} concepts, {animals} animals, {named} CIFAR-100 names")


if __name__ == "__main__":
    main()
