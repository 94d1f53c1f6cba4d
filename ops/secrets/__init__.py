"""Passwords, Redis's users, and who gets which."""
