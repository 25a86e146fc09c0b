"""What is accepted: presentation contexts (PS3.8 7.1.1.13)."""

from __future__ import annotations

from pydicom import uid
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

TRANSFER_SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,  # retired, and still sent
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
"""Everything a PACS sends pictures in. Deflated is left out (1 MB inflates to gigabytes), video
until its frames can be decoded."""


def supported_contexts() -> list[PresentationContext]:
    """Return C-ECHO and every storage SOP class in every transfer syntax we keep."""
    storage = (context.abstract_syntax for context in AllStoragePresentationContexts)
    return [
        build_context(Verification),
        *(build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in storage),
    ]
