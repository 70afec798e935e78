"""Who is asking: sessions and API keys."""
