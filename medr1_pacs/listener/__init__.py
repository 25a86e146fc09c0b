"""receive: a storage SCP that acknowledges what is durable, and nothing else."""
