"""Commands about upkeep: repairs, reconciliation, catalogues, crosswalks."""
