"""One request's way, a station a file: request, route, cascade, settle, result."""
