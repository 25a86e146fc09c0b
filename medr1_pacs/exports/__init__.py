"""export: rows as files; pure, one file a format.

JsonObject, JsonObject, ... -> lines of text
"""
