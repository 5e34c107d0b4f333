"""The control API on the lab's Unix socket: the server (trio) and the client (standard library only)."""
