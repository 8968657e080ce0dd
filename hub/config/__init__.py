"""All reading of YAML and CSV: a directory of files becomes a district, or a list of problems with file and line."""
