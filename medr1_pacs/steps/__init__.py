"""One function a verb: the only code that joins I/O and decisions."""
