"""`tickstock doctor`: check a setup."""
