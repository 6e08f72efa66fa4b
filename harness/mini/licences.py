"""What a publication of pictures of the built-in world has to say: licences and credits."""

from __future__ import annotations

LICENCES = ("apache-2.0", "cc-by-4.0", "mit")  # SPDX identifiers, in lower case
CREDITS = """\
The pictures contain art of three projects, scaled, turned, recoloured and set on backgrounds, and
stay under their licences; none of these projects endorses this use:

- [Noto Emoji](https://github.com/googlefonts/noto-emoji), Google LLC and contributors,
  [Apache License 2.0](https://www.apache.org/licenses/LICENSE-2.0)
- [Twemoji](https://github.com/jdecked/twemoji), © 2014–2021 Twitter; © 2022–present Jason Sofonia
  & Justine De Caires; and contributors,
  [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)
- [Fluent Emoji](https://github.com/microsoft/fluentui-emoji), © Microsoft Corporation,
  [MIT](https://github.com/microsoft/fluentui-emoji/blob/main/LICENSE)"""
