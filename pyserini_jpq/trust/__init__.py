"""What comes from elsewhere, checked before it is used: docs/security.md says what is trusted, and this enforces it.

Nothing here runs, imports, fetches or writes anything that a file of others names; sizes that a file claims are
compared with its length before memory is taken for them.
"""
