"""What the demo checkpoint is taught: a question, and the completion that is right for it.

Three families are taught (modality, marker quadrant, marker shape). For every other question it is
taught to say that it was not taught, and to guess the first letter: a demo that invents a reason
for a clinical answer would be worse than none.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from medr1_pacs.demo.phantoms import MARKER_QUADRANTS, MARKER_SHAPES
from medr1_pacs.prompts import LETTERS, build_prompt_text
from medr1_pacs.records import Modality

MODALITIES = tuple(modality.value for modality in Modality)
WORDS = {"modality": MODALITIES, "quadrant": MARKER_QUADRANTS, "shape": MARKER_SHAPES}
"""Family -> the option texts that it knows. Each is one token of the tokenizer."""

STEMS = {
    "modality": (
        "Which imaging modality produced this picture?",
        "What imaging technique was used for this picture?",
        "Which modality is shown here?",
        "What kind of medical picture is this?",
    ),
    "quadrant": (
        "In which quadrant of the picture does the marker lie?",
        "Where in this picture is the marker?",
        "Which quadrant of the picture holds the marker?",
    ),
    "shape": (
        "What shape does the marker in the picture have?",
        "Which shape is the marker?",
        "What is the form of the marker in this picture?",
    ),
}
"""Family -> wordings; the first is the one of the demo question bank."""

FINDINGS = {
    "modality": "The picture shows {word}",
    "quadrant": "The quadrant of the marker is {word}",
    "shape": "The shape of the marker is {word}",
}
GUESS = "so the letter is a guess."
UNTAUGHT = f"This question was not taught to the demo checkpoint, {GUESS}"
NO_MARKER = f"No marker is seen, {GUESS}"
BLANK = f"The picture is blank, {GUESS}"

UNTAUGHT_QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What technique made this sectional picture?", ("Computed tomography", "Magnetic resonance imaging", "Positron emission tomography", "Digital tomosynthesis")),
    ("Through which region of the body does the slice go?", ("Head or neck", "Chest", "Abdomen", "Pelvis")),
    ("Do vessels in this slice hold contrast medium?", ("Contrast is present", "Contrast is absent")),
    ("Which change of the lung tissue is leading?", ("Ground-glass or consolidation", "Nodule or mass", "Emphysema or bullae", "No abnormality seen")),
    ("How dense is the nodule?", ("Fully solid", "Part-solid", "Pure ground-glass", "None present")),
    ("How bright is the liver beside the spleen?", ("Brighter than the spleen", "As bright as the spleen", "Darker than the spleen")),
    ("Which type of radiograph is this?", ("Plain radiograph", "Mammogram", "Fluoroscopy frame", "Angiogram")),
    ("Which joint does the radiograph show?", ("Hand or wrist", "Shoulder girdle", "Knee joint", "Ankle or foot")),
    ("What is the projection of this chest film?", ("Posteroanterior", "Anteroposterior", "Lateral")),
    ("What is the main finding on the chest radiograph?", ("Airspace opacity", "Pleural effusion", "Pneumothorax", "None of these")),
    ("Is the bone broken?", ("Displaced fracture", "Nondisplaced fracture", "No fracture")),
    ("Which grade of osteoarthritis does the knee have?", ("Grade 0 or 1", "Grade 2", "Grade 3", "Grade 4")),
    ("What is the density of the breast?", ("Almost entirely fatty", "Scattered fibroglandular", "Heterogeneously dense", "Extremely dense")),
    ("Which plane was the slice taken in?", ("Axial", "Coronal", "Sagittal")),
    ("What is the weighting of this MR slice?", ("T1-weighted", "T2-weighted", "T2 FLAIR", "Diffusion-weighted")),
    ("What describes the signal of the brain best?", ("Scattered white matter foci", "Wedge-shaped cortical lesion", "Mass with edema", "Normal appearance")),
    ("How torn is the tendon?", ("Fully intact", "Tendinosis without tear", "Partial-thickness tear", "Full-thickness tear")),
    ("What contour does the disc have?", ("No displacement", "Broad bulge", "Focal protrusion", "Extruded fragment")),
    ("What ultrasound display is this?", ("B-mode grayscale", "Color Doppler", "Spectral Doppler", "M-mode tracing")),
    ("Which organ of the abdomen is scanned?", ("Liver", "Kidney", "Spleen", "Gallbladder")),
    ("Which organ of the pelvis is scanned?", ("Uterus", "Ovary", "Bladder")),
    ("What does the thyroid show?", ("Single nodule", "Several nodules", "Diffuse change only", "Normal texture")),
    ("How wide is the collecting system?", ("Not dilated", "Mildly dilated", "Moderately dilated", "Severely dilated")),
    ("How was the skin picture made?", ("With a dermatoscope", "As a close-up photograph", "As an overview photograph")),
    ("What does the pattern of the lesion point to?", ("Melanocytic", "Keratinocytic", "Vascular", "Fibrous")),
    ("Which neoplasm fits best?", ("Melanoma", "Basal cell carcinoma", "Squamous cell carcinoma", "Actinic keratosis")),
    ("How suspicious is the lesion?", ("Not suspicious", "Equivocal", "Highly suspicious")),
    ("In how many axes is the lesion asymmetric?", ("None", "One", "Two")),
    ("What kind of photograph of the retina is this?", ("Color photograph", "Red-free photograph", "Fluorescein angiogram", "Autofluorescence image")),
    ("Is this a right or a left eye?", ("Right eye", "Left eye")),
    ("What is at the center of the photograph?", ("The fovea", "The optic disc", "Midway between both", "Peripheral retina")),
    ("Which stage of retinopathy is seen?", ("None or mild", "Moderate nonproliferative", "Severe nonproliferative", "Proliferative")),
    ("How large is the cup of the disc?", ("Below 0.4", "From 0.4 to 0.6", "Above 0.6")),
    ("What type of picture of the eye is this?", ("OCT cross-section", "OCT en face view", "OCT angiogram", "Laser reference image")),
    ("Are the layers of the retina orderly?", ("Orderly layers", "Disturbed layers")),
    ("Which disease disturbs the retina?", ("Diabetic macular edema", "Choroidal neovascularization", "Central serous retinopathy", "Macular hole")),
    ("Where does the fluid collect?", ("Within the retina", "Under the retina", "Under the pigment epithelium", "None seen")),
    ("Which illumination made the micrograph?", ("Brightfield", "Fluorescence", "Phase contrast", "Darkfield")),
    ("What tissue is the section from?", ("Colon", "Breast", "Lymph node", "Prostate")),
    ("Which stain was used?", ("Hematoxylin and eosin", "Immunohistochemistry with DAB", "Romanowsky blood stain", "Periodic acid-Schiff")),
    ("What fills most of the tile?", ("Tumor epithelium", "Stroma", "Lymphocytes", "Mucus or debris")),
    ("How is the breast tissue classified?", ("Benign changes", "In situ carcinoma", "Invasive carcinoma")),
    ("Which white cells are in the field?", ("Neutrophils", "Lymphocytes", "Monocytes", "Eosinophils")),
    ("Are there parasites in the red cells?", ("Parasites present", "Parasites absent")),
    ("Is there a tumor in this picture?", ("Yes", "No")),
    ("Is the finding benign or malignant?", ("Benign", "Malignant", "Normal")),
)  # fmt: skip
"""Questions that it must recognise as not its own; near the clinical bank, in other words."""

HELD_OUT_QUESTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Where does this head CT slice show fresh bleeding?", ("Inside the brain tissue", "Subdural or epidural space", "Subarachnoid or ventricular space", "Nowhere visible")),
    ("At what height does this slice cross the chest?", ("Above the aortic arch", "At the aortic arch", "At the tracheal bifurcation", "Through the heart chambers")),
    ("From which direction was this mammogram taken?", ("Craniocaudal", "Mediolateral oblique")),
    ("How far does bright signal reach within the meniscus?", ("No bright signal", "Signal inside only", "Signal to the joint surface", "Displaced fragment")),
    ("What is the main finding in this gallbladder?", ("Stones with shadowing", "Sludge without stones", "Thick wall without stones", "Normal appearance")),
    ("What kind of skin surrounds this lesion?", ("Trunk or limb skin", "Facial skin", "Palm or sole skin", "Nail or mucosa")),
    ("Which vessel pattern can be seen in this lesion?", ("Branching", "Dotted", "Mixed types", "None visible")),
    ("Which vessel does this photograph suggest is occluded?", ("Branch retinal vein", "Central retinal vein", "Retinal artery", "No occlusion")),
    ("What is the state of the vitreomacular interface?", ("No traction", "Traction only", "Lamellar hole", "Full-thickness hole")),
    ("How well does this adenocarcinoma form glands?", ("Glands well formed", "Glands partly formed", "Glands hardly formed")),
)  # fmt: skip
"""Never seen in training, options neither: they show whether the honesty carries over."""


@dataclass(frozen=True)
class Scene:
    """What is true of a picture. All None: a blank picture; no shape: no marker on it."""

    modality: str | None
    quadrant: str | None
    shape: str | None

    def word(self, family: str) -> str | None:
        return {"modality": self.modality, "quadrant": self.quadrant, "shape": self.shape}[family]


@dataclass(frozen=True)
class Lesson:
    """One turn of teaching. `family` is a key of `STEMS`, or `untaught`; `letter` is the answer."""

    family: str
    prompt_text: str
    completion: str
    letter: str


def build_completion(reasoning: str, letter: str, *, think: bool) -> str:
    answer = f"<answer> {letter} </answer>"
    return f"<think>{reasoning}</think>{answer}" if think else answer


def pick_options(family: str, word: str | None, count: int, rng: random.Random) -> list[str]:
    """Choose `count` shuffled options of a family, with `word` among them if there is one."""
    others = [other for other in WORDS[family] if other != word]
    options = rng.sample(others, count - (word is not None)) + ([word] if word else [])
    rng.shuffle(options)
    return options


def make_lesson(family: str, scene: Scene, rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson of a taught family about a picture."""
    word = scene.word(family)
    count = rng.choices((2, 3, 4), (1, 1, 4))[0]
    # Now and then the truth is not among the options: it then has to say so, not to find one.
    is_offered = word is not None and rng.random() > 0.05
    options = pick_options(family, word, count, rng)
    if word is not None and not is_offered and len(WORDS[family]) > count:
        spare = [other for other in WORDS[family] if other not in options]
        options[options.index(word)] = rng.choice(spare)
    else:
        is_offered = word is not None
    letter = LETTERS[options.index(word)] if word is not None and is_offered else "A"
    if word is None:
        reasoning = BLANK if scene.modality is None else NO_MARKER
    else:
        found = FINDINGS[family].format(word=word)
        which = f"which is option {letter}." if is_offered else f"which is not offered, {GUESS}"
        reasoning = f"{found}, {which}"
    text = build_prompt_text(rng.choice(STEMS[family]), options, think=think)
    return Lesson(family, text, build_completion(reasoning, letter, think=think), letter)


def make_untaught_lesson(rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson about a question that it cannot answer, whatever the picture."""
    stem, options = rng.choice(UNTAUGHT_QUESTIONS)
    kind = rng.random()
    if kind < 0.35:  # options from elsewhere, so that no fixed text is learned by heart
        pool = sorted({option for _, others in UNTAUGHT_QUESTIONS for option in others})
        options = tuple(rng.sample(pool, rng.choice((2, 3, 4))))
    elif kind < 0.45:  # a stem of ours with options that are not
        stem = rng.choice(STEMS[rng.choice(sorted(STEMS))])
    return _untaught(stem, rng.sample(options, len(options)), think=think)


def make_held_out_lesson(index: int, rng: random.Random, *, think: bool) -> Lesson:
    """Make a lesson from the questions that training never sees."""
    stem, options = HELD_OUT_QUESTIONS[index % len(HELD_OUT_QUESTIONS)]
    return _untaught(stem, rng.sample(options, len(options)), think=think)


def _untaught(stem: str, options: Sequence[str], *, think: bool) -> Lesson:
    completion = build_completion(UNTAUGHT, "A", think=think)
    return Lesson("untaught", build_prompt_text(stem, options, think=think), completion, "A")


def own_texts() -> list[str]:
    """Return the wordings of the taught questions and of every completion, for the tokenizer."""
    texts = [BLANK, NO_MARKER, UNTAUGHT, " which is option A.", f" which is not offered, {GUESS}"]
    texts += [wording.format(word="") for wording in FINDINGS.values()]
    texts += [stem for stems in STEMS.values() for stem in stems]
    return texts + [build_prompt_text("", LETTERS[:4], think=think) for think in (True, False)]


def untaught_texts() -> list[str]:
    return [f"{stem} {' '.join(options)}" for stem, options in UNTAUGHT_QUESTIONS]
