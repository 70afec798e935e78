"""Signatures: what every scheme promises, and the schemes. Pure."""
