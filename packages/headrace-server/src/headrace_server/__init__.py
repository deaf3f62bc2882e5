"""The control plane of Headrace: API, portal and workers."""
