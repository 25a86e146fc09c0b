"""Children with limits on memory and time, for work on bytes that a peer controls.

messages.py  what a child and its parent say to each other
child.py     limits itself, then answers one request after the other
parent.py    starts a child when it is needed, and replaces one that fails

Children are `subprocess`, not `multiprocessing`: a Celery worker is a daemonic process, which may
not have the other kind.
"""
