"""How not to overrun a provider."""
