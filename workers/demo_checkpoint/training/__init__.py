"""How the demo checkpoint's weights are made and measured. Nothing here runs in service.

lessons     what it is taught: prompts, and the completion that is right for each (untaught.yaml)
pictures    the phantoms as the service shows them, varied for training
network     its tokenizer and processor, its size and first weights, a fast vision tower
train       makes a folder of weights, in about a quarter of an hour on two cores
measure     how often it is right on phantoms that it has never seen
"""
