"""Scene descriptions: the grammar, the choice, the file."""

import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import DataError, UsageError
from harness.datasets import prompts
from harness.datasets.prompts import phrases, scene_grammar
from harness.mini import scene
from harness.mini.world import CIFAR100

CONCEPTS = [c["name"] for c in json.loads((scene.SPRITES / "index.json").read_text())["concepts"]]
ODD = (
    "tench",
    "great white shark",
    "Agouti paca",
    "it's",
    'the "king"',
    "{subject}",
    "%s {0}",
    "back\\slash",
    "Ölkännchen",
    "猫",
    "🦊 fox",
    "a\tb\nc",
    "x" * 500,
    "very " * 100 + "long",
)

# Golden: kept from the first version of the grammar. Other words are another prompts.GRAMMAR.
TENCH = (
    "A medium shot of a tench with a faint line of trees far behind, entirely alone late on an "
    "autumn afternoon in warm golden light, seen from a low angle.",
    "A tench against a wide open sky, photographed from an oblique angle on a rainy autumn day in "
    "dull, even light, alone in the scene, in full view from edge to edge.",
)
AGOUTI = (
    "At dusk in late summer in a pink and violet glow, an Agouti paca among ferns in damp "
    "woodland, entirely alone, seen from straight ahead, near enough to show fine texture.",
    "An Agouti paca on a sandy riverbank, pictured alone in the scene in the blue half-light "
    "before a summer sunrise, seen from slightly above, close up and filling the frame.",
)
GOLDEN = {  # SHA-256 of the ten sentences, a line each
    ("tench", None): "3944bff70f426d3dd70aeeb9e14c210c604de23f7c6061132933ff09ad72b03e",
    ("Agouti paca", "animal"): "464cd6d22602f627a0be136063445c13f5beb404e7ddeb7169b94f3e228a792f",
}


def assert_good(texts, name):
    assert len(texts) == len({t.casefold() for t in texts}) == 10
    for text in texts:
        assert 15 <= len(text.split()) - len(name.split()) + 1 <= 50
        assert prompts.spoken(name).casefold() in text.casefold()
        assert text == " ".join(text.split())
        assert text.endswith(".")
        assert text[0] == text[0].upper()
        assert text.isprintable()


def slot_of(text, options):
    """The option that a sentence has; the longest, should one be part of another."""
    found = [option for option in options if option.casefold() in text.casefold()]
    return max(found, key=len)


# ---------------------------------------------------------------- the grammar


def test_golden_sentences():
    assert prompts.scenes("tench")[:2] == TENCH
    assert prompts.scenes("Agouti paca", "animal")[:2] == AGOUTI
    for (name, kind), digest in GOLDEN.items():
        text = "\n".join(prompts.scenes(name, kind))
        assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("kind", [None, *prompts.KINDS])
def test_ten_scenes_for_every_class_of_the_built_in_world(kind):
    for name in (*CIFAR100, *CONCEPTS):
        assert_good(prompts.scenes(name, kind), name)


@pytest.mark.parametrize("kind", [None, *prompts.KINDS])
def test_places_differ_and_the_rest_varies(kind):
    places = [p for some in phrases.PLACES[kind].values() for p in some]
    times = [t for some in phrases.TIMES.values() for t in some]
    assert len(set(places)) == len(places) >= 10
    for name in ("tench", "great white shark", "cup"):
        texts = prompts.scenes(name, kind)
        assert len({slot_of(t, places) for t in texts}) == 10
        # 10 numbers over cycles of at least 10 times, 7 views and 5 distances use them all; a
        # distance may be said as the name of the shot.
        if len(phrases.PLACES[kind]) == 1:
            assert len({slot_of(t, times) for t in texts}) == 10
        assert len({slot_of(t, phrases.VIEWS) for t in texts}) == 7
        far = (*phrases.DISTANCES, *phrases.SHOTS)
        found = [far.index(slot_of(t, far)) % 5 for t in texts]
        assert sorted(found) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        seasons = {s for t in texts for s in re.findall("spring|summer|autumn|winter", t)}
        assert len(seasons) >= 3


def test_times_fit_their_season():
    for times in phrases.TIMES.values():
        for text in times:
            assert len(re.findall("spring|summer|autumn|winter", text)) == 1


@given(st.sampled_from(ODD) | st.text(max_size=60), st.sampled_from([None, *prompts.KINDS]))
def test_odd_names_get_good_sentences(name, kind):
    try:
        prompts.spoken(name)
    except UsageError:
        assert not any(c.isalnum() for c in name)
        with pytest.raises(UsageError):
            prompts.scenes(name, kind)
        return
    texts = prompts.scenes(name, kind)
    assert texts == prompts.scenes(name, kind)
    assert len(set(texts)) == 10
    for text in texts:
        assert len(text.split()) >= prompts.MIN_WORDS
        # Upper case may change the first letter, and only that: ß is SS.
        assert prompts.spoken(name)[1:] in text


def test_sentences_do_not_depend_on_other_classes():
    alone = prompts.grammar("d", ["tench"]).of["tench"]
    among = prompts.grammar("d", ["cup", "tench", *CIFAR100], {"cup": "object"}).of
    assert among["tench"] == alone == prompts.scenes("tench")
    assert among["cup"] == prompts.scenes("cup", "object")


def test_underscores_are_spaces():
    assert prompts.scenes("brown_bear") == prompts.scenes(" brown  bear")


@pytest.mark.parametrize("name", ["sea", "mountain"])
def test_a_place_with_the_class_in_it_comes_last(name):
    for n in range(20):  # orders that without this would be random
        options = ("by the sea", "on a mountainside", "in a room", "x")
        order = scene_grammar._order(name, f"place {n}", options)
        assert order[-1] == {"sea": "by the sea", "mountain": "on a mountainside"}[name]


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'animal'"):
        prompts.scenes("fox", "animl")


@pytest.mark.parametrize("name", ["", "_", " \n", "!?", "fox\ud800"])
def test_a_name_without_a_word_is_refused(name):
    with pytest.raises(UsageError, match="no word"):
        prompts.scenes(name)


@pytest.mark.parametrize(
    "phrase",
    [
        *("a tench", "a great white shark", "an Agouti paca", "an orange", "an umbrella"),
        *("a unicycle", "an unidentified bird", "a European hare", "a ewer", "a one-eyed cat"),
        *("an hourglass", "a honeycomb", "an SUV", "a UFO", "a CD player", "an X-ray fish"),
        *("an 8-ball", "an 11-a-side ball", "a 10-a-side ball", "an éclair", "a NASA rocket"),
        *("a bus", "a cactus", "an iris", "a rhinoceros", "an albatross", "a lens cap", "a lens"),
        *("an ear of corn", "a hen of the woods", "a jack-in-the-box", "a cat's-eye", "a 猫"),
    ],
)
def test_articles(phrase):
    name = phrase.partition(" ")[2]
    assert prompts.noun_phrase(name) == phrase
    assert prompts.noun_phrase(name.replace(" ", "_")) == phrase


@pytest.mark.parametrize(
    "name",
    [
        *("binoculars", "sunglasses", "French fries", "swimming trunks", "cattle", "men", "mice"),
        *("ice cream", "guacamole", "corn", "the great ape"),
    ],
)
def test_plurals_and_masses_take_no_article(name):
    assert prompts.noun_phrase(name) == name


# ---------------------------------------------------------------- what the generator is asked for


def test_choice_is_the_stated_hash():
    texts = tuple("abcdefghij")
    for name, seed in (("tench", 10), ("cup", 42), ("Ölkännchen", 0)):
        # by hand: the first 16 hex digits of SHA-256 over name, line feed, seed
        digest = hashlib.sha256(name.encode() + b"\n" + str(seed).encode()).hexdigest()
        assert prompts.choose(texts, name, seed) == texts[int(digest[:16], 16) % 10]
    # printf 'tench\n10' | sha256sum
    assert prompts.choose(texts, "tench", 10) == "f"


def test_seeds_reach_every_sentence_about_equally():
    texts = tuple("abcdefghij")
    chosen = [prompts.choose(texts, "tench", seed) for seed in range(2000)]
    # Binomial(2000, 1/10): mean 200, standard deviation 13.4; four of them either side
    assert all(146 <= chosen.count(text) <= 254 for text in texts)


def test_nothing_to_choose_from():
    with pytest.raises(UsageError, match="'tench'"):
        prompts.choose((), "tench", 0)


def test_generation_texts():
    assert prompts.real_photo("A fox.") == "a 8k real photo: A fox."
    assert prompts.in_the_wild("great curassow") == "a photo of great curassow in the wild"


# ---------------------------------------------------------------- the file


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "deep" / "prompts.json"
    prompts.write(path, prompts.grammar("imagenet-lt", ["tench", "Ölkännchen"]))
    return path


def damage(path, change):
    value = json.loads(path.read_text("utf-8"))
    change(value)
    path.write_text(json.dumps(value), "utf-8")


def test_what_is_written_is_read(stored):
    found = prompts.read(stored, ["Ölkännchen"], "imagenet-lt")
    assert found == prompts.grammar("imagenet-lt", ["tench", "Ölkännchen"])
    assert found.source == {"kind": "grammar", "grammar": 1}
    value = json.loads(stored.read_bytes())
    assert list(value) == ["version", "dataset", "source", "prompts"]
    assert value["version"] == 1
    assert [p.name for p in stored.parent.iterdir()] == ["prompts.json"]


def test_the_file_is_the_same_every_time(stored, tmp_path):
    prompts.write(tmp_path / "again", prompts.grammar("imagenet-lt", ["tench", "Ölkännchen"]))
    assert (tmp_path / "again").read_bytes() == stored.read_bytes()


def test_a_missing_class_is_named_with_the_file(stored):
    with pytest.raises(DataError, match=r"prompts\.json lack class 'cup' and 1 more"):
        prompts.read(stored, ["tench", "cup", "fox"])


def test_another_data_set(stored):
    with pytest.raises(DataError, match="'imagenet-lt', not of 'inaturalist2018'"):
        prompts.read(stored, (), "inaturalist2018")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(version=2), "version 2; this reads 1"),
        (lambda v: v.pop("version"), "version None"),
        (lambda v: v.pop("source"), "damaged"),
        (lambda v: v.update(prompts=[]), "damaged"),
        (lambda v: v["prompts"]["tench"].pop() and v["prompts"]["tench"].pop(), "'tench': 8 texts"),
        (lambda v: v["prompts"]["tench"].append("x"), "'tench': 11 texts"),
        (lambda v: v["prompts"]["tench"].__setitem__(3, 7), "'tench': 7 is no text"),
        (lambda v: v["prompts"]["tench"].__setitem__(3, " "), "'tench': ' ' is no text"),
        (lambda v: v["prompts"].update(tench="text"), "'tench': not a list of texts but str"),
    ],
)
def test_a_wrong_file_is_refused_by_name(stored, change, said):
    damage(stored, change)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        prompts.read(stored)
    assert str(stored) in str(error.value)


def test_nine_sentences_are_enough(stored):
    damage(stored, lambda v: v["prompts"]["tench"].pop())
    assert len(prompts.read(stored).of["tench"]) == 9


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_prompts_file(tmp_path, content):
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(DataError, match=r"p\.json"):
        prompts.read(tmp_path / "p.json")


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"p\.json: cannot be read \(No such file"):
        prompts.read(tmp_path / "p.json")
