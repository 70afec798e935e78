"""The signature schemes, one a file."""

from server.webhooks.signing.schemes.either import Either
from server.webhooks.signing.schemes.hmac_header import HmacHeader
from server.webhooks.signing.schemes.standard import StandardWebhooks
from server.webhooks.signing.schemes.stripe import StripeSignature

__all__ = ["Either", "HmacHeader", "StandardWebhooks", "StripeSignature"]
