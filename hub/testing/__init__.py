"""The public kit for plugin authors: a chassis for simulators and the contract suite every adapter must pass.

- `hub.testing.simulator.Simulator`: write a department's simulator in a page (own process, durable state, faults, callbacks, recording).
- `hub.testing.scripts`: fault scripts, `error*3, ok, huge(50MB), hang(5s), close`: what happens to one request after the other.
- `hub.testing.process.SimulatorProcess`: start, kill and stop such a simulator from a test or from the demo; ask what it was asked.
- `hub.testing.contract.AdapterContract`: one subclass per plugin is its contract test (needs pytest).
- `hub.testing.recorded.RecordedContract`: one subclass replays what `hub adapter try --record` saved; `hub.testing.cassette` underneath.
- `hub.testing.kit`: a sample assignment, a running adapter, a callback receiver, `eventually`.
"""
