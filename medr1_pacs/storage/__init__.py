"""store: durable files. The only place where a path is built, and never from a peer's words.

incoming/     acknowledged instances without a row yet: the backlog
instances/    instances with a row, by the day they were received
quarantine/   instances that cannot be used, with their reason in the database
renderings/   pictures, by their sha256

durable.py    write, so that it survives a crash
instances.py  the first three folders
pictures.py   the last
"""
