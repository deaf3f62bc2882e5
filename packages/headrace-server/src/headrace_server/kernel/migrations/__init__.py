"""The schema's history, one file a step. Each room's first table came with the room; see docs/contributing."""
