"""A trial: asks one instance for its health and hands over one marked sample. Shows everything that went over the wire.

Touches no case: it writes nothing to the ledger, and the plugin gets a store that forgets. Builds the plugin as the hub does. values: the
results; blotting: hiding secrets in them; trying: the calls. Called by the interface, by registration and by `hub adapter try`.
"""
