"""Which elements a decision may read, and how much is kept of each.

Beside these, research knows of an instance only what `headers.index_header` takes: UIDs, sex, age
in years and study date.

Names, identifiers, dates of birth and free text (descriptions, comments) are not in the list;
adding an element to it is a decision about privacy.
"""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword

from medr1_pacs.attributes.phantom import PHANTOM_ELEMENTS, PHANTOM_TAGS

MAX_VALUES = 16
"""Values kept of a multi-valued element."""
MAX_ITEMS = 64
"""Items kept of a sequence; a specimen's preparation is the longest that we read."""
MAX_DEPTH = 5
"""Sequences in sequences: specimen > preparation > step > content item > code."""
MAX_TEXT = 64
"""Characters kept of a text."""

INDEXED_KEYWORDS: tuple[str, ...] = (
    # what kind of object it is
    "SOPClassUID", "Modality", "ImageType", "ConversionType", "PresentationIntentType",
    "BurnedInAnnotation", "Manufacturer", "ManufacturerModelName",
    # what it shows, from where
    "BodyPartExamined", "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence",
    "Laterality", "ImageLaterality", "FrameLaterality",
    "ViewPosition", "ViewCodeSequence", "PatientOrientation",
    # where it lies
    "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceLocation",
    "SliceThickness", "SpacingBetweenSlices", "PixelSpacing", "ImagerPixelSpacing",
    # how its pixels are stored and meant to be seen
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth",
    "VOILUTFunction", "PresentationLUTShape", "PixelIntensityRelationship",
    # contrast medium; see `_contrast_agent` and `_contrast_route` for what is kept of the two texts
    "ContrastBolusAgent", "ContrastBolusRoute", "ContrastBolusAgentSequence",
    "ContrastBolusAdministrationRouteSequence",
    # CT and MR
    "KVP", "MagneticFieldStrength", "ScanningSequence", "SequenceVariant", "MRAcquisitionType",
    "AcquisitionContrast", "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle",
    "EchoTrainLength", "DiffusionBValue",
    # ultrasound
    "SequenceOfUltrasoundRegions", "UltrasoundColorDataPresent",
    # ophthalmology
    "AcquisitionDeviceTypeCodeSequence", "LightPathFilterTypeStackCodeSequence",
    "ImagePathFilterTypeStackCodeSequence", "IlluminationTypeCodeSequence",
    # microscopy
    "TotalPixelMatrixColumns", "TotalPixelMatrixRows", "SpecimenLabelInImage",
    "OpticalPathSequence", "SpecimenDescriptionSequence",
)  # fmt: skip
"""Every element of the data set that a decision may read."""

NESTED_KEYWORDS: tuple[str, ...] = (
    "CodeValue", "CodingSchemeDesignator", "ViewModifierCodeSequence",
    "ContrastBolusAdministrationRouteSequence",
    "RegionSpatialFormat", "RegionDataType", "RegionFlags",
    "RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1",
    "IlluminationTypeCodeSequence",
    "AnatomicRegionSequence", "PrimaryAnatomicStructureSequence", "SpecimenPreparationSequence",
    "SpecimenPreparationStepContentItemSequence", "ConceptNameCodeSequence", "ConceptCodeSequence",
)  # fmt: skip
"""What is kept of a sequence's items: codes without their meanings, and the geometry of ultrasound
regions. Specimen identifiers and descriptions are not."""

SOURCE_TAGS: tuple[int, ...] = (
    *(tag for keyword in INDEXED_KEYWORDS if (tag := tag_for_keyword(keyword)) is not None),
    0x52009229,  # Shared Functional Groups Sequence
    0x52009230,  # Per-Frame Functional Groups Sequence
    0x00080005,  # Specific Character Set
    *PHANTOM_TAGS,
)
"""Every element of the top level that indexing looks at."""

KNOWN_KEYWORDS = frozenset(INDEXED_KEYWORDS) | frozenset(PHANTOM_ELEMENTS.values())
"""Every key that `read_attributes` can give."""
