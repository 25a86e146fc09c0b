"""ask: the question bank.

YAML files -> bank.py -> Question (schema.py)
conditions.py   may this question be asked of this picture?
windows.py      through which VOI window is it looked at?
truths.py       what does the header, which the model never sees, say is right?
lint.py         what a careful author would change
"""
