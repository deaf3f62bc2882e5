"""The source of both clients; `_sync` is derived from it by scripts/unasync."""
