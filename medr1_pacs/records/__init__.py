"""The frozen values that pass between modules, cut by the flow.

words.py      the closed sets: modalities, states, checkpoints, ...
received.py   what arrives
planned.py    what is asked
shown.py      what a reader sees of an instance
work.py       what a worker claims, and what comes back
answers.py    what was answered
research.py   the same as research sees it
listed.py     rows of a list, as pages and commands show them
"""
