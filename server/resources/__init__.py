"""CRUD resources: one file each, registered here."""

from collections.abc import Callable

from aiohttp import web

from server.resources import notifications

RESOURCES: tuple[Callable[[web.Application], None], ...] = (notifications.add_routes,)
