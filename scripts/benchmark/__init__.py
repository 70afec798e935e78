"""Tailrace beside its peers, in one run on the same work: `scripts/bench`."""
