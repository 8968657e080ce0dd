"""The vocabulary and the business rules of the hub: pure, without I/O, clock or randomness."""
