"""Celery, torch and transformers live here and nowhere else.

sweep        the clock: calls the steps that are due, rings bells
tasks        what a bell starts: drain the rows that wait
checkpoints  which weights there are, and that they are what they were
engines      what turns prompts into generations
"""
