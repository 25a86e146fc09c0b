"""review: pages and API. Server-rendered, and no request to any other host."""
