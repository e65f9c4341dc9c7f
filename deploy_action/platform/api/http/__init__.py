"""The HTTP server: uvicorn, with limits on slow, greedy and silent clients."""
