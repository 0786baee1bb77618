"""HTTP below Flask: connections, timeouts, malformed requests and errors."""
