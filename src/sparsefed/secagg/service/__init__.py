"""Two servers and their devices: rounds, sealed shares, durable state, HTTPS with certificates."""
