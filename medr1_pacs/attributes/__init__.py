"""The header attributes that decisions may read: a closed list, so that no identity slips in.

Routing, selection and question conditions see an instance only as `Attributes`: the elements of
`listed.py`, as plain JSON values.

    listed.py    which elements, and how much of each
    reading.py   Dataset -> Attributes
    elements.py  the bytes of one element -> values
    values.py    what is asked of Attributes
    phantom.py   what our synthetic studies say of themselves

Headers come from anywhere: a value that does not parse is absent, counts and lengths are capped,
and nothing here raises. Values are decoded from their bytes, not by pydicom's conversion: that one
warns with the value in the text, and a sloppy value may be a name.
"""
