"""The phrases that the grammar of scenes puts together."""

from __future__ import annotations

GRAMMAR = 1  # of the sentences: another word anywhere below is another version


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))


# Where, by the kind of the class, outdoors, indoors or in water. Without a kind the place is a
# background only, which suits a fish, a cup and a castle alike.
PLACES: dict[str | None, dict[str, tuple[str, ...]]] = {
    None: {
        "outdoors": _phrases("""against a wide open sky | with distant hills fading into haze |
        with calm water stretching out behind | against a softly blurred green background |
        with a low, empty horizon far behind | in front of weathered grey stone |
        with pale sand and smooth rocks behind | in front of dense dark foliage |
        with a faint line of trees far behind | with a rugged coastline in the distance |
        against a background of warm earth tones | with ripples of light and shade behind |
        with snowy peaks on the far horizon | against a deep blue, hazy backdrop""")
    },
    "animal": {
        "outdoors": _phrases("""in a quiet forest clearing | on a dry grassy plain |
        at the edge of a dense forest | beside a shallow stream | on a rocky hillside |
        in tall grass | on a dirt track between bushes | among ferns in damp woodland |
        on a sandy riverbank | near a muddy water hole | beside a fallen log |
        on open moorland | in a wide meadow | in low thorny scrub""")
    },
    "bird": {
        "outdoors": _phrases("""on a weathered fallen log | at the edge of a reed bed |
        on a rocky ledge above the sea | in short meadow grass | on a wet sandy beach |
        at the edge of a quiet pond | in an open stubble field | on a boulder beside a stream |
        on a grassy hillside | on a muddy lakeshore | on a gravel bank by a river |
        in a clearing among old trees | on a low stone wall | against a wide open sky""")
    },
    "aquatic": {
        "in water": _phrases("""in open blue water | over pale sand in clear water |
        near a rocky shore | just below a calm surface | in deep green water |
        beside a steep underwater rock face | among drifting seaweed | in a sheltered bay |
        over smooth stones in clear water | in a gentle current with rising bubbles |
        close to the bottom in clear water | in slightly cloudy water with drifting specks |
        in a wide, quiet lagoon | beneath gently breaking waves""")
    },
    "insect": {
        "outdoors": _phrases("""on a broad green leaf | on rough tree bark | on a bed of damp moss |
        on a slender plant stem | on a smooth grey pebble | on dry fallen leaves |
        on bare sandy soil | on an old wooden fence post | on a dew-covered blade of grass |
        on a lichen-covered rock | on crumbling dead wood | at the base of a stone wall |
        on a thin bare twig | on the dark soil of a garden bed""")
    },
    "plant": {
        "outdoors": _phrases("""in a quiet garden | in a forest clearing | on a grassy hillside |
        beside a stone path | at the edge of a meadow | near a slow stream |
        in a botanical garden | on a rocky slope | beside a country lane |
        in front of an old brick wall | along a wooden fence | on the bank of a pond |
        in damp, shady woodland | in an overgrown field""")
    },
    "food": {
        "indoors": _phrases("""on a plain white plate | on a rustic wooden table |
        on a dark slate board | on a marble kitchen counter | on a folded linen cloth |
        on a sheet of brown paper | on a small café table | on a woven bamboo mat |
        on a tiled worktop | on a simple metal tray | on a wooden chopping board |
        on a pale stone surface"""),
        "outdoors": _phrases("""on a checked picnic blanket | on a weathered garden table |
        on an open-air market stall"""),
    },
    "object": {
        "indoors": _phrases("""in a bright, empty room | against a plain white wall |
        on a smooth concrete floor | on a polished wooden floor | beside a tall window |
        in a tidy living room | against a plain grey studio backdrop | in a small workshop |
        in a quiet hallway | in a corner with bare plaster walls"""),
        "outdoors": _phrases("""on a stone terrace | on short mown grass | on a wooden porch |
        in a paved courtyard | beside a red brick wall"""),
    },
    "vehicle": {
        "outdoors": _phrases("""on wide open ground | at the edge of a large field |
        at a quiet waterfront | on an empty paved square | beside an old brick warehouse |
        with green hills in the background | in front of a city skyline | in a flat, dry desert |
        under a wide open sky | near a windswept headland | in a fenced industrial yard |
        on wet ground full of reflections | with a row of tall trees behind |
        in a remote mountain valley""")
    },
    "place": {
        "outdoors": _phrases("""under a wide open sky | beyond a field of tall grass |
        beyond a still lake | with low hills on the horizon | with a patch of mist in front |
        framed by dark foliage | with a line of distant trees behind | beyond wet, dark rocks |
        with wildflowers in the foreground | in a remote, empty landscape |
        on the far side of a valley | with a winding footpath in the foreground |
        behind a low stone wall | with bare branches in the foreground""")
    },
}
KINDS = tuple(kind for kind in PLACES if kind)

# Season, hour and light, which must fit each other.
TIMES: dict[str, tuple[str, ...]] = {
    "outdoors": _phrases("""on a clear spring morning in soft, low sunlight |
    at noon on a hot summer day under a hard, bright sun |
    late on an autumn afternoon in warm golden light |
    on a grey winter day beneath an even layer of cloud |
    at dusk in late summer in a pink and violet glow | just after a spring shower in clear light |
    at sunrise on a misty autumn day | on a cold winter morning in pale, frosty light |
    on a windy spring day beneath fast white clouds | on a summer evening with low sun behind |
    on a still autumn day in soft, shadowless light |
    on a bright winter afternoon in crisp, slanting sunlight |
    in the blue half-light before a summer sunrise | on a rainy autumn day in dull, even light"""),
    "indoors": _phrases("""on a spring morning with soft daylight from the left |
    at noon in summer with bright light falling from above |
    on an autumn afternoon with warm, low sun coming in | on a winter day in cool, even daylight |
    on a summer evening in fading golden light | late on a winter night in warm lamplight |
    on a rainy spring day in dim, grey light | early on an autumn morning in pale, hazy light |
    on a bright summer day with strong light from behind |
    on a dark winter afternoon in a single beam of light"""),
    "in water": _phrases("""in shafts of summer sunlight falling from above |
    in dim green light on a winter day | in bright turquoise light at noon in midsummer |
    in soft blue light early on a spring morning | in the golden glow of an autumn evening |
    in rippling patches of sunlight in late spring | in cold blue-grey winter light |
    in clear, even light on an overcast autumn day | in warm, low light near a summer sunset |
    in the last faint light of a winter afternoon"""),
}
VIEWS = _phrases("""from the side | from slightly above | from a low angle | from straight ahead |
    from an oblique angle | from a high viewpoint | from eye level""")
# How a photographer calls the picture, and how far away that is.
SHOTS = _phrases("a close-up | a detailed photo | a medium shot | a wide shot | a full view")
DISTANCES = _phrases("""close up and filling the frame | near enough to show fine texture |
    at a medium distance with some space on every side |
    farther off with much of the surroundings in view | in full view from edge to edge""")
ALONE = _phrases("all alone | alone in the scene | entirely alone")
FORMS = (
    "{subject} {place}, pictured {alone} {time}, seen {view}, {distance}.",
    "{shot} of {subject} {place}, {alone} {time}, seen {view}.",
    "{time}, {subject} {place}, {alone}, seen {view}, {distance}.",
    "{subject} {place}, photographed {view} {time}, {alone}, {distance}.",
)
