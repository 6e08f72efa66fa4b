"""What a report holds, for a reader and for its script."""

import html
import json
import re
from typing import Any


def stored(page: str, name: str) -> Any:
    """What the page keeps for its script under that name."""
    match = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert match is not None
    return json.loads(match[1])


def visible(page: str) -> str:
    """Text of the page without scripts, style and marks."""
    body = page[page.index("<body>") :]
    bare = re.sub(r"<script.*?</script>|<svg.*?</svg>", "", body, flags=re.S)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare)))


def found_figures(page: str, prefix: str) -> dict[str, Any]:
    return {k: v for k, v in stored(page, "figures").items() if k.startswith(prefix)}
