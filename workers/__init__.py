"""Celery, torch and transformers live here and nowhere else.

sweep            the clock: calls the steps that are due, rings bells
bells            "there is work in this queue"
tasks            what a bell starts: drain the rows that wait
engines          what turns prompts into generations
engine_cache     the one that is warm
replay           make an answer again, and compare
checks           what `medr1-pacs doctor` asks of a worker
demo_checkpoint  weights for a machine without a GPU
"""
