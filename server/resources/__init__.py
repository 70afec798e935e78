"""CRUD resources: one file each, with its `ROUTES`; registered here."""

from server.openapi.route import Route
from server.resources import contact, edge, hello, notifications, posts, profile, watched

__all__ = ["RESOURCES", "watched"]

RESOURCES: tuple[tuple[Route, ...], ...] = (
    hello.ROUTES,
    edge.ROUTES,
    contact.ROUTES,
    profile.ROUTES,
    posts.ROUTES,
    notifications.ROUTES,
)
