"""One HTTP exchange: aiohttp, streaming, encryption, authentication."""
