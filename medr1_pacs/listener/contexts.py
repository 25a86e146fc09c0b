"""What is accepted: presentation contexts (PS3.8 7.1.1.13)."""

from __future__ import annotations

from pynetdicom import AllStoragePresentationContexts
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification

from medr1_pacs.transfer_syntaxes import ACCEPTED_TRANSFER_SYNTAXES


def supported_contexts() -> list[PresentationContext]:
    """Return C-ECHO and every storage SOP class in every transfer syntax we keep."""
    storage = (context.abstract_syntax for context in AllStoragePresentationContexts)
    return [
        build_context(Verification),
        *(build_context(sop_class, list(ACCEPTED_TRANSFER_SYNTAXES)) for sop_class in storage),
    ]
