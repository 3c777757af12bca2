"""Side-by-side benchmarks: server CPU and latency of both services, `scripts/bench`."""
