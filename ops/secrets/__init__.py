"""Passwords, Redis's users, and the distribution of both."""
