"""Make and write bars for a program that has its own loop."""
