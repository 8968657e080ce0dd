"""Commands about people: tokens and keys."""
