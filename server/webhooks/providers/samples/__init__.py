"""Realistic bodies of each provider, one file each."""
