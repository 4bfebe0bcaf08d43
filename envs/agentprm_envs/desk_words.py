"""The names and things of the desk's two worlds: no word of one is a word of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["WORDS", "Split", "Words"]

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Words:
    """What customers, towns, products and defects of one world are called."""

    forenames: tuple[str, ...]
    surnames: tuple[str, ...]
    towns: tuple[str, ...]
    products: tuple[str, ...]
    defects: tuple[str, ...]


def _words(forenames: str, surnames: str, towns: str, products: str, defects: str) -> Words:
    names = (tuple(forenames.split()), tuple(surnames.split()), tuple(towns.split()), tuple(products.split()))
    return Words(*names, tuple(defect.strip() for defect in defects.split(",")))


WORDS: dict[Split, Words] = {
    "train": _words(
        "Ada Bruno Clara Dimitri Elena Farid Greta Hugo Ines Jonas Kira Luis Mina Noah Olga Pavel",
        "Albrecht Bauer Castell Dorn Eriksen Falk Gruber Holm Ivanov Jansen Keller Lindt Moreau Novak Orsini Petit",
        "Bergen Cadiz Dresden Esbjerg Faro Genoa Haarlem Izmir",
        "kettle toaster lamp chair blender drill rucksack tent scooter radio clock heater",
        "broken handle, missing screw, loose wire, cracked lid, bent frame, torn seam, faulty switch, deep scratch, "
        "rusty hinge, leaking valve",
    ),
    "test": _words(
        "Amir Beatriz Cosmo Dalia Emil Fiona Goran Hanna Igor Judith Karim Lena Marek Nadia Oskar Priya",
        "Andersen Bruckner Costa Duval Engel Fischer Garcia Haas Imhof Jokinen Kowalski Lopez Meier Nilsson Olsen Park",
        "Antwerp Brno Cork Delft Essen Ferrara Ghent Hull",
        "oven vacuum desk sofa grinder saw suitcase canoe bicycle monitor printer fan",
        "split cable, dented door, wobbly leg, burnt plug, worn bearing, jammed wheel, chipped edge, frayed strap, "
        "stuck button, noisy motor",
    ),
}
"""By split: "no word in common" is what holding tasks out by their content means here."""
