"""The signature schemes, one a file."""

from server.webhooks.schemes.either import Either
from server.webhooks.schemes.hmac_header import HmacHeader
from server.webhooks.schemes.standard import StandardWebhooks
from server.webhooks.schemes.stripe import StripeSignature

__all__ = ["Either", "HmacHeader", "StandardWebhooks", "StripeSignature"]
