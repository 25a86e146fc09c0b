"""audit: pure: canonical events and records, the Merkle tree, its heads and proofs."""
