"""The workshop of plugin authors: the template of new plugins, and their grading."""
