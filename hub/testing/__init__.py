"""The public kit for plugin authors: a chassis for simulators and the contract suite every adapter must pass.

- `hub.testing.simulator.Simulator`: write a department's simulator in a page (own process, durable state, faults, callbacks).
- `hub.testing.process.SimulatorProcess`: start, kill and stop such a simulator from a test or from the demo.
- `hub.testing.contract.AdapterContract`: one subclass per plugin is its contract test (needs pytest).
"""
