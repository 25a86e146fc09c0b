"""What turns prompts and pictures into generations."""
