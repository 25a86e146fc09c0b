"""Who may do what.

access.py    what a route asks of its caller, as parameters
"""
