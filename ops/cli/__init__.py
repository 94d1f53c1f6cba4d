"""The commands, one file each. They read their options and call other modules."""
