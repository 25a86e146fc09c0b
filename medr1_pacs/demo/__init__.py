"""Synthetic studies of all eight modalities: drawings with a marker, no patient data.

phantoms   the pictures and what is true of them
studies    the same pictures as DICOM data sets, ready to be sent
"""
