"""route: which Med-R1 modality a series belongs to, and what it shows; or why there is none.

    attributes of a series -> modality, anatomy, plane, weighting, stain

    series.py      a series -> its route
    modalities.py  Modality and SOP class -> the checkpoint's modality
    facts.py       anatomy, plane, weighting, stain
    synonyms.py    what a site calls things (`routing.toml`)

Pure but for `load_synonyms`. A fact on which the instances of a series disagree is unknown, as is
one that the header does not settle: a guess here would make a wrong truth later.
"""
