"""The demo: a synthetic market, and a daily run over its bars."""
