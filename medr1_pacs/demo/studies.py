"""The phantoms as DICOM studies: one series of one SOP class for each modality.

Everything is derived from (modality, seed), the UIDs too, so sending a study twice sends the same
instances. The marker's truth is in a private block (see `attributes.PHANTOM_ELEMENTS`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DermoscopicPhotographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
    OphthalmicPhotography8BitImageStorage,
    OphthalmicTomographyImageStorage,
    UltrasoundImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from medr1_pacs.attributes.phantom import (
    PHANTOM_ELEMENTS,
    PHANTOM_PRIVATE_CREATOR,
    PHANTOM_PRIVATE_GROUP,
)
from medr1_pacs.demo.phantoms import Display, Phantom, fundus_laterality, make_phantom
from medr1_pacs.records.words import Modality

STUDY_DATE = "20260105"
CT_WINDOW = (-200, 1600)  # center, width in HU: display 0 is -1000 HU, 255 is 599 HU
MR_WINDOW = (600, 1200)  # center, width, arbitrary units
DX_WINDOW = (2048, 4096)  # center, width: all of 12 bits


def make_study(modality: Modality, seed: int) -> list[Dataset]:
    """Make the instances of one study, each with its file meta, ready for C-STORE."""
    instances = _MAKERS[modality](seed)
    for number, instance in enumerate(instances, start=1):
        instance.InstanceNumber = number
        instance.SOPInstanceUID = make_uid(modality, seed, f"instance {number}")
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = instance.SOPClassUID
        meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        instance.file_meta = meta
    return instances


def make_uid(modality: Modality, seed: int, what: str) -> UID:
    """Derive a UID from its meaning, in the form of a UUID (PS3.5 B.2)."""
    return _hash_uid(f"medr1 phantom\n{modality.value}\n{seed}\n{what}")


def _derive_uid(ds: Dataset, what: str) -> UID:
    """Derive the UID of something that belongs to the data set's study."""
    return _hash_uid(f"{ds.StudyInstanceUID}\n{what}")


def _hash_uid(text: str) -> UID:
    digest = hashlib.sha256(text.encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16])}")


def unwindow(display: Display, window: tuple[int, int]) -> NDArray[np.int64]:
    """Return modality values that the LINEAR window turns back into `display`, exactly.

    The inverse of PS3.3 C.11.2.1.2.1; the width is over 256, so each display value has its own.
    """
    center, width = window
    return np.rint((display / 255.0 - 0.5) * (width - 1) + center - 0.5).astype(np.int64)


# --- what every instance has ----------------------------------------------------------------


def _begin(phantom: Phantom, sop_class_uid: UID, dicom_modality: str, body_part: str) -> Dataset:
    modality, seed = phantom.modality, phantom.seed
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class_uid
    ds.PatientName = f"PHANTOM^{modality.name}"
    ds.PatientID = f"PHANTOM-{modality.name}-{seed}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.StudyInstanceUID = make_uid(modality, seed, "study")
    ds.SeriesInstanceUID = make_uid(modality, seed, "series")
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = STUDY_DATE
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "120000"
    ds.AcquisitionDateTime = f"{STUDY_DATE}120000"
    ds.AccessionNumber = f"PH{list(Modality).index(modality)}{seed:08d}"[:16]
    ds.ReferringPhysicianName = ""
    ds.StudyID = str(seed)[:16]
    ds.StudyDescription = "Synthetic phantom, no patient"
    ds.SeriesNumber = 1
    ds.Modality = dicom_modality
    ds.BodyPartExamined = body_part
    ds.Manufacturer = "medr1-pacs demo"
    ds.ManufacturerModelName = "Phantom"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    block = ds.private_block(PHANTOM_PRIVATE_GROUP, PHANTOM_PRIVATE_CREATOR, create=True)
    truths = {
        "PhantomMarkerQuadrant": phantom.marker_quadrant,
        "PhantomMarkerShape": phantom.marker_shape,
    }
    for element, keyword in PHANTOM_ELEMENTS.items():
        block.add_new(element, "LO", truths[keyword])
    return ds


def _set_grey(
    ds: Dataset, values: NDArray[np.integer], *, bits_stored: int, is_signed: bool = False
) -> None:
    """Set stored values, (rows, columns) or (frames, rows, columns)."""
    allocated = 8 if bits_stored <= 8 else 16
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = values.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(is_signed)
    dtype = f"<{'i' if is_signed else 'u'}{allocated // 8}"
    ds.PixelData = values.astype(dtype).tobytes()
    ds["PixelData"].VR = "OB" if allocated == 8 else "OW"


def _set_rgb(ds: Dataset, display: Display) -> None:
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = display.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelRepresentation = 0
    ds.PixelData = display.tobytes()
    ds["PixelData"].VR = "OB"


def _set_window(ds: Dataset, window: tuple[int, int]) -> None:
    ds.WindowCenter, ds.WindowWidth = window
    ds.RescaleIntercept, ds.RescaleSlope = 0, 1


def _code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return [item]


def _item(**elements: object) -> list[Dataset]:
    """Return a sequence of one item with these elements."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def _set_slice(ds: Dataset, index: int, count: int, spacing_mm: float, step_mm: float) -> None:
    """Place an axial slice (PS3.3 C.7.6.2); slices run from the feet to the head."""
    ds.FrameOfReferenceUID = _derive_uid(ds, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    corner = [-ds.Columns * spacing_mm / 2, -ds.Rows * spacing_mm / 2]
    ds.ImagePositionPatient = [*corner, (index - (count - 1) / 2) * step_mm]
    ds.SliceLocation = ds.ImagePositionPatient[2]
    ds.PixelSpacing = [spacing_mm, spacing_mm]
    ds.SliceThickness = step_mm


def _make_stack(modality: Modality, seed: int, counts: tuple[int, ...]) -> list[Phantom]:
    """Draw the slices of a stack; how many depends on the seed."""
    count = counts[seed % len(counts)]
    offsets = np.linspace(-1, 1, count)
    return [make_phantom(modality, seed, slice_offset=float(offset)) for offset in offsets]


# --- one study a modality -------------------------------------------------------------------


def _make_ct(seed: int) -> list[Dataset]:
    stack = _make_stack(Modality.CT, seed, (5, 6, 7))
    instances = []
    for index, phantom in enumerate(stack):
        ds = _begin(phantom, CTImageStorage, "CT", "CHEST")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        hounsfield = unwindow(phantom.display, CT_WINDOW)
        _set_grey(ds, hounsfield + 1024, bits_stored=16, is_signed=True)
        _set_window(ds, CT_WINDOW)
        ds.RescaleIntercept, ds.RescaleType = -1024, "HU"
        _set_slice(ds, index, len(stack), spacing_mm=0.9, step_mm=5.0)
        ds.PatientPosition = "HFS"
        ds.KVP = 120
        ds.AcquisitionNumber = 1
        instances.append(ds)
    return instances


def _make_mri(seed: int) -> list[Dataset]:
    stack = _make_stack(Modality.MRI, seed, (3, 4, 5))
    instances = []
    for index, phantom in enumerate(stack):
        ds = _begin(phantom, MRImageStorage, "MR", "BRAIN")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        _set_grey(ds, unwindow(phantom.display, MR_WINDOW), bits_stored=12)
        ds.WindowCenter, ds.WindowWidth = MR_WINDOW
        _set_slice(ds, index, len(stack), spacing_mm=0.75, step_mm=6.0)
        ds.PatientPosition = "HFS"
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "SK", ""
        ds.MRAcquisitionType = "2D"
        ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = 100, 4500, 12
        ds.MagneticFieldStrength = 1.5
        instances.append(ds)
    return instances


def _make_xray(seed: int) -> list[Dataset]:
    phantom = make_phantom(Modality.XRAY, seed)
    ds = _begin(phantom, DigitalXRayImageStorageForPresentation, "DX", "CHEST")
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    # MONOCHROME1 shows low values bright: inverted after the window, so stored inverted.
    is_inverted = seed % 2 == 1
    shown = 255 - phantom.display if is_inverted else phantom.display
    _set_grey(ds, unwindow(shown, DX_WINDOW), bits_stored=12)
    _set_window(ds, DX_WINDOW)
    ds.RescaleType = "US"
    ds.PhotometricInterpretation = "MONOCHROME1" if is_inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if is_inverted else "IDENTITY"
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if is_inverted else -1
    ds.ViewPosition = "PA"
    ds.ViewCodeSequence = _code("399348003", "SCT", "postero-anterior")
    ds.ViewCodeSequence[0].ViewModifierCodeSequence = []
    ds.AnatomicRegionSequence = _code("51185008", "SCT", "Chest")
    ds.PatientOrientation = ["L", "F"]
    ds.ImageLaterality = "U"
    ds.DetectorType = "SCINTILLATOR"
    ds.ImagerPixelSpacing = [0.8, 0.8]
    ds.AcquisitionContextSequence = []
    return [ds]


def _make_ultrasound(seed: int) -> list[Dataset]:
    phantom = make_phantom(Modality.ULTRASOUND, seed)
    ds = _begin(phantom, UltrasoundImageStorage, "US", "ABDOMEN")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "ABDOMINAL", "0001"]
    ds.PatientOrientation = ""
    ds.UltrasoundColorDataPresent = 0
    _set_rgb(ds, phantom.display)
    ds.SequenceOfUltrasoundRegions = _item(  # PS3.3 C.8.5.5: one two-dimensional tissue region
        RegionSpatialFormat=1,
        RegionDataType=1,
        RegionFlags=0,
        RegionLocationMinX0=0,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=ds.Columns - 1,
        RegionLocationMaxY1=ds.Rows - 1,
        PhysicalUnitsXDirection=3,  # centimeters
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=0.04,
        PhysicalDeltaY=0.04,
    )
    return [ds]


def _make_dermoscopy(seed: int) -> list[Dataset]:
    phantom = make_phantom(Modality.DERMOSCOPY, seed)
    ds = _begin(phantom, DermoscopicPhotographyImageStorage, "DMS", "SKIN")
    ds.PatientOrientation = ""
    _set_rgb(ds, phantom.display)
    ds.AnatomicRegionSequence = _code("77568009", "SCT", "Back")
    ds.AcquisitionContextSequence = []
    return [ds]


def _set_eye(ds: Dataset, laterality: str, device: list[Dataset]) -> None:
    """Set what both ophthalmic classes say of the eye and the device."""
    ds.ImageLaterality = laterality
    ds.AnatomicRegionSequence = _code("5665001", "SCT", "Retina")
    ds.AcquisitionDeviceTypeCodeSequence = device
    ds.PatientEyeMovementCommanded = "NO"
    ds.RefractiveStateSequence = []
    ds.EmmetropicMagnification = None
    ds.IntraOcularPressure = None
    ds.HorizontalFieldOfView = None
    ds.PupilDilated = "NO"
    ds.AcquisitionContextSequence = []


def _make_fundus(seed: int) -> list[Dataset]:
    phantom = make_phantom(Modality.FUNDUS, seed)
    ds = _begin(phantom, OphthalmicPhotography8BitImageStorage, "OP", "EYE")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "COLOR"]
    _set_rgb(ds, phantom.display)
    ds.NumberOfFrames = 1
    device = _code("409898007", "SCT", "Fundus Camera")
    _set_eye(ds, fundus_laterality(seed), device)
    ds.IlluminationTypeCodeSequence = []
    ds.LightPathFilterTypeStackCodeSequence = []
    ds.ImagePathFilterTypeStackCodeSequence = []
    ds.DetectorType = "CCD"
    ds.PatientOrientation = ["L", "F"]
    return [ds]


def _make_oct(seed: int) -> list[Dataset]:
    stack = _make_stack(Modality.OCT, seed, (5,))
    ds = _begin(stack[0], OphthalmicTomographyImageStorage, "OPT", "EYE")
    _set_grey(ds, np.stack([phantom.display for phantom in stack]), bits_stored=8)
    ds.NumberOfFrames = len(stack)
    ds.PresentationLUTShape = "IDENTITY"
    ds.ConcatenationFrameOffsetNumber = 0
    _set_eye(ds, "R" if seed % 2 else "L", _code("392012008", "SCT", "OCT Scanner"))
    ds.DetectorType = "CCD"
    ds.AxialLengthOfTheEye = None
    ds.MydriaticAgentSequence = []
    ds.FrameOfReferenceUID = _derive_uid(ds, "frame of reference")
    ds.PositionReferenceIndicator = ""
    ds.SynchronizationFrameOfReferenceUID = _derive_uid(ds, "synchronization")
    ds.SynchronizationTrigger, ds.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
    organization = _derive_uid(ds, "dimensions")
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organization)
    ds.DimensionIndexSequence = _item(
        DimensionOrganizationUID=organization,
        DimensionIndexPointer=0x00209057,  # In-Stack Position Number
        FunctionalGroupPointer=0x00209111,  # Frame Content Sequence
    )
    ds.SharedFunctionalGroupsSequence = _item(
        PixelMeasuresSequence=_item(PixelSpacing=[0.004, 0.012], SliceThickness=0.25),
        PlaneOrientationSequence=_item(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
        FrameAnatomySequence=_item(
            FrameLaterality=ds.ImageLaterality,
            AnatomicRegionSequence=_code("5665001", "SCT", "Retina"),
        ),
    )
    ds.PerFrameFunctionalGroupsSequence = [
        _item(
            FrameContentSequence=_item(
                FrameAcquisitionDateTime=f"{STUDY_DATE}120000",
                FrameReferenceDateTime=f"{STUDY_DATE}120000",
                FrameAcquisitionDuration=10.0,  # ms
                StackID="1",
                InStackPositionNumber=number,
                DimensionIndexValues=[number],
            ),
            PlanePositionSequence=_item(ImagePositionPatient=[0, 0.25 * number, 0]),
        )[0]
        for number in range(1, len(stack) + 1)
    ]
    return [ds]


def _make_microscopy(seed: int) -> list[Dataset]:
    """A slide of one tile: TILED_FULL with a single frame."""
    phantom = make_phantom(Modality.MICROSCOPY, seed)
    ds = _begin(phantom, VLWholeSlideMicroscopyImageStorage, "SM", "COLON")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    _set_rgb(ds, phantom.display)
    rows, columns = phantom.display.shape[:2]
    ds.NumberOfFrames = 1
    ds.DimensionOrganizationType = "TILED_FULL"
    organization = _derive_uid(ds, "dimensions")
    ds.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organization)
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = rows, columns
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.TotalPixelMatrixOriginSequence = _item(
        XOffsetInSlideCoordinateSystem=20.0, YOffsetInSlideCoordinateSystem=40.0
    )
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ds.ImagedVolumeWidth, ds.ImagedVolumeHeight = columns * 0.0005, rows * 0.0005  # mm
    ds.ImagedVolumeDepth = 1.0  # micrometers
    ds.SpecimenLabelInImage = "NO"
    ds.FocusMethod = "AUTO"
    ds.ExtendedDepthOfField = "NO"
    ds.VolumetricProperties = "VOLUME"
    ds.AcquisitionDuration = 1.0
    ds.FrameOfReferenceUID = _derive_uid(ds, "frame of reference")
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    ds.AcquisitionContextSequence = []
    ds.NumberOfOpticalPaths = 1
    ds.OpticalPathSequence = _item(
        OpticalPathIdentifier="1",
        IlluminationTypeCodeSequence=_code("111744", "DCM", "Brightfield illumination"),
        IlluminationColorCodeSequence=_code("371251000", "SCT", "White color"),
        ICCProfile=_srgb_profile(),
    )
    ds.ContainerIdentifier = ds.PatientID
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = _code("433466003", "SCT", "Microscope slide")
    staining = _item(
        ValueType="CODE",
        ConceptNameCodeSequence=_code("424361007", "SCT", "Using substance"),
        ConceptCodeSequence=_code("12710003", "SCT", "hematoxylin stain"),
    ) + _item(
        ValueType="CODE",
        ConceptNameCodeSequence=_code("424361007", "SCT", "Using substance"),
        ConceptCodeSequence=_code("36879007", "SCT", "water soluble eosin stain"),
    )
    ds.SpecimenDescriptionSequence = _item(
        SpecimenIdentifier=ds.PatientID,
        SpecimenUID=_derive_uid(ds, "specimen"),
        IssuerOfTheSpecimenIdentifierSequence=[],
        PrimaryAnatomicStructureSequence=_code("71854001", "SCT", "Colon"),
        SpecimenPreparationSequence=_item(SpecimenPreparationStepContentItemSequence=staining),
    )
    ds.SharedFunctionalGroupsSequence = _item(
        PixelMeasuresSequence=_item(PixelSpacing=[0.0005, 0.0005], SliceThickness=0.001),
        WholeSlideMicroscopyImageFrameTypeSequence=_item(FrameType=list(ds.ImageType)),
        OpticalPathIdentificationSequence=_item(OpticalPathIdentifier="1"),
    )
    return [ds]


def _srgb_profile() -> bytes:
    """Return PIL's sRGB profile with its creation time blanked: the same bytes every day."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes((7, 0xEA, 0, 1, 0, 5)) + bytes(6)  # ICC.1: dateTimeNumber, 2026-01-05
    return bytes(profile)


_MAKERS: dict[Modality, Callable[[int], list[Dataset]]] = {
    Modality.CT: _make_ct,
    Modality.MRI: _make_mri,
    Modality.XRAY: _make_xray,
    Modality.ULTRASOUND: _make_ultrasound,
    Modality.DERMOSCOPY: _make_dermoscopy,
    Modality.FUNDUS: _make_fundus,
    Modality.OCT: _make_oct,
    Modality.MICROSCOPY: _make_microscopy,
}
