"""People and programs: tokens, keys, what each may do."""
