"""Commands about adapters: instances, plugins and their grades, keys of those elsewhere, trials."""
