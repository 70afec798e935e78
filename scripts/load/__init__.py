"""A load test from one process: many streams, an open-loop publisher, and a judge of every byte.

Uses nothing of the server's code: it runs against any deployment. See docs/loadtest.md.
"""
