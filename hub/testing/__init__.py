"""The public kit for plugin authors: a chassis for simulators, and the contract suite that every adapter must pass.

- `hub.testing.simulator.Simulator`: write a department's simulator in a page (own process, durable state, faults, callbacks, recording).
- `hub.testing.scripts`: fault scripts, `error*3, ok, huge(50MB), hang(5s), close`: one trouble for each request in turn.
- `hub.testing.process.SimulatorProcess`: start, kill and stop such a simulator from a test or from the demo; read its received requests.
- `hub.testing.contract.AdapterContract`: one subclass per plugin is its contract test (needs pytest).
- `hub.testing.recorded.RecordedContract`: one subclass replays recordings of `hub adapter try --record`, by `hub.testing.cassette`.
- `hub.testing.kit`: a sample assignment, a running adapter, a callback receiver, `eventually`.
"""
