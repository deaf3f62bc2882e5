"""Real parts for tests: servers started from Debian's binaries, by this session, for this session."""
