"""A generated wiki farm and the upstream that serves it: the demo runs on it, and the tests and benchmarks use the same."""
