"""The read models: the projector folds commits into SQL, `Views` answers questions from it. Rebuilt from the ledger at any time."""
