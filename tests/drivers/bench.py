"""Moved to drivers/conformance/bench.py, where new fields of `Bench` belong; these are the old names."""

from drivers.conformance.bench import Bench as Bench
from drivers.conformance.bench import Body as Body
from drivers.conformance.bench import after_cycle as after_cycle
from drivers.conformance.bench import bench_for as bench_for
from drivers.conformance.bench import cancelled_soon as cancelled_soon
from drivers.conformance.bench import numbers_left as numbers_left
from drivers.conformance.bench import on_bench as on_bench
