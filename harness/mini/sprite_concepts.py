"""The concepts of the sprite atlas: what each is called, by whom, and what it is of."""

from __future__ import annotations

from typing import NamedTuple

# name | codepoint | group | species or taxon, "-" for what is no animal
# A CIFAR-100 class keeps its own spelling, with spaces for underscores, and its superclass.
CIFAR100_CONCEPTS = """
apple         | 1F34E      | fruit_and_vegetables           | -
aquarium fish | 1F420      | fish                           | Pomacanthidae
baby          | 1F476      | people                         | -
bear          | 1F43B      | large_carnivores               | Ursus arctos
beaver        | 1F9AB      | aquatic_mammals                | Castor canadensis
bed           | 1F6CF-FE0F | household_furniture            | -
bee           | 1F41D      | insects                        | Apis mellifera
beetle        | 1FAB2      | insects                        | Coleoptera
bicycle       | 1F6B2      | vehicles_1                     | -
bottle        | 1F37E      | food_containers                | -
bowl          | 1F963      | food_containers                | -
boy           | 1F466      | people                         | -
bridge        | 1F309      | large_man-made_outdoor_things  | -
bus           | 1F68C      | vehicles_1                     | -
butterfly     | 1F98B      | insects                        | Danaus plexippus
camel         | 1F42A      | large_omnivores_and_herbivores | Camelus dromedarius
can           | 1F96B      | food_containers                | -
castle        | 1F3F0      | large_man-made_outdoor_things  | -
caterpillar   | 1F41B      | insects                        | Lepidoptera
cattle        | 1F404      | large_omnivores_and_herbivores | Bos taurus
chair         | 1FA91      | household_furniture            | -
clock         | 1F570-FE0F | household_electrical_devices   | -
cloud         | 2601-FE0F  | large_natural_outdoor_scenes   | -
cockroach     | 1FAB3      | insects                        | Periplaneta americana
couch         | 1F6CB-FE0F | household_furniture            | -
crab          | 1F980      | non-insect_invertebrates       | Brachyura
crocodile     | 1F40A      | reptiles                       | Crocodylus niloticus
cup           | 2615       | food_containers                | -
dinosaur      | 1F995      | reptiles                       | Sauropoda
dolphin       | 1F42C      | aquatic_mammals                | Tursiops truncatus
elephant      | 1F418      | large_omnivores_and_herbivores | Loxodonta africana
fox           | 1F98A      | medium_mammals                 | Vulpes vulpes
girl          | 1F467      | people                         | -
hamster       | 1F439      | small_mammals                  | Mesocricetus auratus
house         | 1F3E0      | large_man-made_outdoor_things  | -
kangaroo      | 1F998      | large_omnivores_and_herbivores | Osphranter rufus
keyboard      | 2328-FE0F  | household_electrical_devices   | -
lamp          | 1FA94      | household_electrical_devices   | -
leopard       | 1F406      | large_carnivores               | Panthera pardus
lion          | 1F981      | large_carnivores               | Panthera leo
lizard        | 1F98E      | reptiles                       | Lacertidae
lobster       | 1F99E      | non-insect_invertebrates       | Homarus americanus
man           | 1F468      | people                         | -
motorcycle    | 1F3CD-FE0F | vehicles_1                     | -
mountain      | 1F3D4-FE0F | large_natural_outdoor_scenes   | -
mouse         | 1F401      | small_mammals                  | Mus musculus
mushroom      | 1F344      | fruit_and_vegetables           | -
oak tree      | 1F333      | trees                          | -
orange        | 1F34A      | fruit_and_vegetables           | -
otter         | 1F9A6      | aquatic_mammals                | Enhydra lutris
palm tree     | 1F334      | trees                          | -
pear          | 1F350      | fruit_and_vegetables           | -
pickup truck  | 1F6FB      | vehicles_1                     | -
pine tree     | 1F332      | trees                          | -
plate         | 1F37D-FE0F | food_containers                | -
rabbit        | 1F407      | small_mammals                  | Oryctolagus cuniculus
raccoon       | 1F99D      | medium_mammals                 | Procyon lotor
road          | 1F6E3-FE0F | large_man-made_outdoor_things  | -
rocket        | 1F680      | vehicles_2                     | -
rose          | 1F339      | flowers                        | -
sea           | 1F30A      | large_natural_outdoor_scenes   | -
seal          | 1F9AD      | aquatic_mammals                | Phoca vitulina
shark         | 1F988      | fish                           | Carcharodon carcharias
skunk         | 1F9A8      | medium_mammals                 | Mephitis mephitis
snail         | 1F40C      | non-insect_invertebrates       | Helix pomatia
snake         | 1F40D      | reptiles                       | Serpentes
spider        | 1F577-FE0F | non-insect_invertebrates       | Araneae
squirrel      | 1F43F-FE0F | small_mammals                  | Tamias striatus
streetcar     | 1F68B      | vehicles_2                     | -
sunflower     | 1F33B      | flowers                        | -
sweet pepper  | 1FAD1      | fruit_and_vegetables           | -
telephone     | 260E-FE0F  | household_electrical_devices   | -
television    | 1F4FA      | household_electrical_devices   | -
tiger         | 1F405      | large_carnivores               | Panthera tigris
tractor       | 1F69C      | vehicles_2                     | -
train         | 1F682      | vehicles_1                     | -
trout         | 1F41F      | fish                           | Salmo trutta
tulip         | 1F337      | flowers                        | -
turtle        | 1F422      | reptiles                       | Testudines
whale         | 1F433      | aquatic_mammals                | Balaenoptera musculus
wolf          | 1F43A      | large_carnivores               | Canis lupus
woman         | 1F469      | people                         | -
worm          | 1FAB1      | non-insect_invertebrates       | Lumbricus terrestris
"""

# More animals and a few other things; a CIFAR-100 superclass is their group where one fits.
OTHER_CONCEPTS = """
airplane      | 2708-FE0F  | aircraft                       | -
ant           | 1F41C      | insects                        | Formicidae
badger        | 1F9A1      | medium_mammals                 | Meles meles
banana        | 1F34C      | fruit_and_vegetables           | -
bat           | 1F987      | small_mammals                  | Chiroptera
bison         | 1F9AC      | large_omnivores_and_herbivores | Bison bison
boar          | 1F417      | large_omnivores_and_herbivores | Sus scrofa
cactus        | 1F335      | desert_plants                  | -
cat           | 1F408      | domestic_mammals               | Felis catus
deer          | 1F98C      | large_omnivores_and_herbivores | Cervus elaphus
dog           | 1F415      | domestic_mammals               | Canis familiaris
duck          | 1F986      | birds                          | Anas platyrhynchos
eagle         | 1F985      | birds                          | Haliaeetus leucocephalus
flamingo      | 1F9A9      | birds                          | Phoenicopterus roseus
frog          | 1F438      | amphibians                     | Anura
giraffe       | 1F992      | large_omnivores_and_herbivores | Giraffa camelopardalis
goat          | 1F410      | domestic_mammals               | Capra hircus
gorilla       | 1F98D      | primates                       | Gorilla gorilla
guitar        | 1F3B8      | musical_instruments            | -
hedgehog      | 1F994      | small_mammals                  | Erinaceus europaeus
hippopotamus  | 1F99B      | large_omnivores_and_herbivores | Hippopotamus amphibius
horse         | 1F40E      | domestic_mammals               | Equus caballus
koala         | 1F428      | medium_mammals                 | Phascolarctos cinereus
llama         | 1F999      | domestic_mammals               | Lama glama
monkey        | 1F412      | primates                       | Cercopithecidae
orangutan     | 1F9A7      | primates                       | Pongo pygmaeus
owl           | 1F989      | birds                          | Strigiformes
panda         | 1F43C      | large_carnivores               | Ailuropoda melanoleuca
parrot        | 1F99C      | birds                          | Psittaciformes
peacock       | 1F99A      | birds                          | Pavo cristatus
penguin       | 1F427      | birds                          | Spheniscidae
pig           | 1F416      | domestic_mammals               | Sus domesticus
rhinoceros    | 1F98F      | large_omnivores_and_herbivores | Ceratotherium simum
rooster       | 1F413      | birds                          | Gallus gallus
sheep         | 1F411      | domestic_mammals               | Ovis aries
sloth         | 1F9A5      | medium_mammals                 | Bradypus variegatus
swan          | 1F9A2      | birds                          | Cygnus olor
turkey        | 1F983      | birds                          | Meleagris gallopavo
water buffalo | 1F403      | large_omnivores_and_herbivores | Bubalus bubalis
zebra         | 1F993      | large_omnivores_and_herbivores | Equus quagga
"""

# Fluent icons are found by name; these are the concepts that it calls otherwise.
FLUENT_NAMES = {
    "apple": "red-apple",
    "aquarium fish": "tropical-fish",
    "bee": "honeybee",
    "bottle": "bottle-with-popping-cork",
    "bowl": "bowl-with-spoon",
    "bridge": "bridge-at-night",
    "can": "canned-food",
    "caterpillar": "bug",
    "cattle": "cow",
    "clock": "mantelpiece-clock",
    "couch": "couch-and-lamp",
    "cup": "hot-beverage",
    "dinosaur": "sauropod",
    "lamp": "diya-lamp",
    "mountain": "snow-capped-mountain",
    "oak tree": "deciduous-tree",
    "orange": "tangerine",
    "pine tree": "evergreen-tree",
    "plate": "fork-and-knife-with-plate",
    "road": "motorway",
    "sea": "water-wave",
    "sheep": "ewe",
    "squirrel": "chipmunk",
    "streetcar": "tram-car",
    "sweet pepper": "bell-pepper",
    "train": "locomotive",
    "trout": "fish",
    "whale": "spouting-whale",
}


class Concept(NamedTuple):
    """One row of the atlas."""

    name: str
    codepoint: str
    fluent: str
    group: str
    scientific: str | None
    cifar100: str | None


def read_table(table: str, is_cifar100: bool) -> list[Concept]:
    """Parse one of the tables above."""
    concepts = []
    for line in table.strip().splitlines():
        name, codepoint, group, scientific = (part.strip() for part in line.split("|"))
        concepts.append(
            Concept(
                name,
                codepoint,
                FLUENT_NAMES.get(name, name.replace(" ", "-")),
                group,
                None if scientific == "-" else scientific,
                name.replace(" ", "_") if is_cifar100 else None,
            )
        )
    return concepts


def all_concepts() -> list[Concept]:
    """Return every concept, sorted by name, and refuse a repeated name or codepoint."""
    concepts = read_table(CIFAR100_CONCEPTS, True) + read_table(OTHER_CONCEPTS, False)
    for field in ("name", "codepoint", "fluent"):
        if len({getattr(concept, field) for concept in concepts}) != len(concepts):
            raise ValueError(f"two concepts share a {field}")
    return sorted(concepts)
