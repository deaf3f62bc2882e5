"""Who is asking?

Owns the tables `accounts`, `login_links` and `sessions`; local accounts, one-use login links, sessions of browsers and
tokens of programs. Imports the kernel only.
"""
