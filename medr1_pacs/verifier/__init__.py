"""verifier: checks an export, and is the `verify.py` in it; the standard library alone."""
