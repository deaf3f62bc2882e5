"""The shell of the web UI: layout, design tokens, components, assets, error pages, security headers.

Owns no data. Imports the kernel only; the rooms' pages are made with its `Templates`.
"""

from headrace_server.portal.errors import error_page
from headrace_server.portal.security import SecurityHeaders
from headrace_server.portal.shell import Templates
from headrace_server.portal.static import install

__all__ = ["SecurityHeaders", "Templates", "error_page", "install"]
