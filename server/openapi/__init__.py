"""Typed handlers: what a route takes and answers is declared once, checked, and documented."""
