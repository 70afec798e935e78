"""The providers that are built in, one file each, and this their registry."""

from server.webhooks.providers.dodo import DODO
from server.webhooks.providers.github import GITHUB
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.providers.standard import read as read_source
from server.webhooks.providers.standard import source
from server.webhooks.providers.stripe import STRIPE

PROVIDERS: tuple[Provider, ...] = (DODO, STRIPE, GITHUB)

__all__ = ["PROVIDERS", "Headers", "Provider", "read_source", "source"]
