"""A tiny Qwen2-VL that answers the demo questions on a machine without a GPU. Not Med-R1.

weights     the folder that the engine loads: config, safetensors, tokenizer, processor
training    how the weights were made and measured; not part of the wheel
"""
