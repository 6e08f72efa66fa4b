"""The living things of the sprite atlas and their place in the system of species.

Where a drawing shows no species in particular, a common one stands for its kind. Supercategories
are those of iNaturalist 2018.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Species:
    """A species. common: its name in the atlas; name: genus and species."""

    common: str
    supercategory: str
    kingdom: str
    phylum: str
    class_: str
    order: str
    family: str
    genus: str
    name: str


# Class -> supercategory, kingdom, phylum.
CLASSES = {
    "Mammalia": ("Mammalia", "Animalia", "Chordata"),
    "Aves": ("Aves", "Animalia", "Chordata"),
    "Reptilia": ("Reptilia", "Animalia", "Chordata"),
    "Amphibia": ("Amphibia", "Animalia", "Chordata"),
    "Actinopterygii": ("Actinopterygii", "Animalia", "Chordata"),
    "Elasmobranchii": ("Animalia", "Animalia", "Chordata"),
    "Insecta": ("Insecta", "Animalia", "Arthropoda"),
    "Arachnida": ("Arachnida", "Animalia", "Arthropoda"),
    "Malacostraca": ("Animalia", "Animalia", "Arthropoda"),
    "Gastropoda": ("Mollusca", "Animalia", "Mollusca"),
    "Clitellata": ("Animalia", "Animalia", "Annelida"),
    "Agaricomycetes": ("Fungi", "Fungi", "Basidiomycota"),
    "Magnoliopsida": ("Plantae", "Plantae", "Tracheophyta"),
    "Liliopsida": ("Plantae", "Plantae", "Tracheophyta"),
    "Pinopsida": ("Plantae", "Plantae", "Tracheophyta"),
}

# Name in the atlas, class, order, family, species.
_TABLE = """\
ant|Insecta|Hymenoptera|Formicidae|Formica rufa
aquarium fish|Actinopterygii|Perciformes|Pomacanthidae|Pomacanthus imperator
badger|Mammalia|Carnivora|Mustelidae|Meles meles
bat|Mammalia|Chiroptera|Vespertilionidae|Myotis lucifugus
bear|Mammalia|Carnivora|Ursidae|Ursus arctos
beaver|Mammalia|Rodentia|Castoridae|Castor canadensis
bee|Insecta|Hymenoptera|Apidae|Apis mellifera
beetle|Insecta|Coleoptera|Scarabaeidae|Cetonia aurata
bison|Mammalia|Artiodactyla|Bovidae|Bison bison
boar|Mammalia|Artiodactyla|Suidae|Sus scrofa
butterfly|Insecta|Lepidoptera|Nymphalidae|Danaus plexippus
cactus|Magnoliopsida|Caryophyllales|Cactaceae|Carnegiea gigantea
camel|Mammalia|Artiodactyla|Camelidae|Camelus dromedarius
cat|Mammalia|Carnivora|Felidae|Felis catus
caterpillar|Insecta|Lepidoptera|Papilionidae|Papilio machaon
cattle|Mammalia|Artiodactyla|Bovidae|Bos taurus
cockroach|Insecta|Blattodea|Blattidae|Periplaneta americana
crab|Malacostraca|Decapoda|Cancridae|Cancer pagurus
crocodile|Reptilia|Crocodylia|Crocodylidae|Crocodylus niloticus
deer|Mammalia|Artiodactyla|Cervidae|Cervus elaphus
dog|Mammalia|Carnivora|Canidae|Canis familiaris
dolphin|Mammalia|Artiodactyla|Delphinidae|Tursiops truncatus
duck|Aves|Anseriformes|Anatidae|Anas platyrhynchos
eagle|Aves|Accipitriformes|Accipitridae|Haliaeetus leucocephalus
elephant|Mammalia|Proboscidea|Elephantidae|Loxodonta africana
flamingo|Aves|Phoenicopteriformes|Phoenicopteridae|Phoenicopterus roseus
fox|Mammalia|Carnivora|Canidae|Vulpes vulpes
frog|Amphibia|Anura|Ranidae|Rana temporaria
giraffe|Mammalia|Artiodactyla|Giraffidae|Giraffa camelopardalis
goat|Mammalia|Artiodactyla|Bovidae|Capra hircus
gorilla|Mammalia|Primates|Hominidae|Gorilla gorilla
hamster|Mammalia|Rodentia|Cricetidae|Mesocricetus auratus
hedgehog|Mammalia|Eulipotyphla|Erinaceidae|Erinaceus europaeus
hippopotamus|Mammalia|Artiodactyla|Hippopotamidae|Hippopotamus amphibius
horse|Mammalia|Perissodactyla|Equidae|Equus caballus
kangaroo|Mammalia|Diprotodontia|Macropodidae|Osphranter rufus
koala|Mammalia|Diprotodontia|Phascolarctidae|Phascolarctos cinereus
leopard|Mammalia|Carnivora|Felidae|Panthera pardus
lion|Mammalia|Carnivora|Felidae|Panthera leo
lizard|Reptilia|Squamata|Lacertidae|Lacerta viridis
llama|Mammalia|Artiodactyla|Camelidae|Lama glama
lobster|Malacostraca|Decapoda|Nephropidae|Homarus americanus
monkey|Mammalia|Primates|Cercopithecidae|Macaca mulatta
mouse|Mammalia|Rodentia|Muridae|Mus musculus
mushroom|Agaricomycetes|Agaricales|Amanitaceae|Amanita muscaria
oak tree|Magnoliopsida|Fagales|Fagaceae|Quercus robur
orangutan|Mammalia|Primates|Hominidae|Pongo pygmaeus
otter|Mammalia|Carnivora|Mustelidae|Enhydra lutris
owl|Aves|Strigiformes|Strigidae|Bubo bubo
palm tree|Liliopsida|Arecales|Arecaceae|Cocos nucifera
panda|Mammalia|Carnivora|Ursidae|Ailuropoda melanoleuca
parrot|Aves|Psittaciformes|Psittacidae|Ara macao
peacock|Aves|Galliformes|Phasianidae|Pavo cristatus
penguin|Aves|Sphenisciformes|Spheniscidae|Aptenodytes forsteri
pig|Mammalia|Artiodactyla|Suidae|Sus domesticus
pine tree|Pinopsida|Pinales|Pinaceae|Pinus sylvestris
rabbit|Mammalia|Lagomorpha|Leporidae|Oryctolagus cuniculus
raccoon|Mammalia|Carnivora|Procyonidae|Procyon lotor
rhinoceros|Mammalia|Perissodactyla|Rhinocerotidae|Ceratotherium simum
rooster|Aves|Galliformes|Phasianidae|Gallus gallus
rose|Magnoliopsida|Rosales|Rosaceae|Rosa gallica
seal|Mammalia|Carnivora|Phocidae|Phoca vitulina
shark|Elasmobranchii|Lamniformes|Lamnidae|Carcharodon carcharias
sheep|Mammalia|Artiodactyla|Bovidae|Ovis aries
skunk|Mammalia|Carnivora|Mephitidae|Mephitis mephitis
sloth|Mammalia|Pilosa|Bradypodidae|Bradypus variegatus
snail|Gastropoda|Stylommatophora|Helicidae|Helix pomatia
snake|Reptilia|Squamata|Colubridae|Natrix natrix
spider|Arachnida|Araneae|Araneidae|Araneus diadematus
squirrel|Mammalia|Rodentia|Sciuridae|Tamias striatus
sunflower|Magnoliopsida|Asterales|Asteraceae|Helianthus annuus
swan|Aves|Anseriformes|Anatidae|Cygnus olor
tiger|Mammalia|Carnivora|Felidae|Panthera tigris
trout|Actinopterygii|Salmoniformes|Salmonidae|Salmo trutta
tulip|Liliopsida|Liliales|Liliaceae|Tulipa gesneriana
turkey|Aves|Galliformes|Phasianidae|Meleagris gallopavo
turtle|Reptilia|Testudines|Testudinidae|Testudo hermanni
water buffalo|Mammalia|Artiodactyla|Bovidae|Bubalus bubalis
whale|Mammalia|Artiodactyla|Balaenopteridae|Balaenoptera musculus
wolf|Mammalia|Carnivora|Canidae|Canis lupus
worm|Clitellata|Haplotaxida|Lumbricidae|Lumbricus terrestris
zebra|Mammalia|Perissodactyla|Equidae|Equus quagga"""


def _species(line: str) -> Species:
    common, class_, order, family, name = line.split("|")
    return Species(common, *CLASSES[class_], class_, order, family, name.split()[0], name)


SPECIES = {s.common: s for s in map(_species, _TABLE.splitlines())}
