"""Derived from `_async` by scripts/unasync."""
