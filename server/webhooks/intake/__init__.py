"""The intake: doors, and what is committed before they answer."""
