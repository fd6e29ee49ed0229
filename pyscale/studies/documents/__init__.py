"""A study as a YAML file: read, checked with file, line and key, and written."""
