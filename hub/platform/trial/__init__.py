"""A trial: one instance asked for its health, and one marked sample handed over, with everything that went over the wire shown.

Touches no case: nothing is written to the ledger, the plugin gets a store that forgets. Builds the plugin as the hub does. values: what
is shown; blotting: what is not; trying: the calls. Called by the interface, by registration and by `hub adapter try`.
"""
