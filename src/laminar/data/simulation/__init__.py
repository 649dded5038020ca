"""Simulated scans: everything here is made from a seed, and called simulated wherever it goes."""

from laminar.data.simulation.scan import SimulatedSlice, simulate_slice

__all__ = ["SimulatedSlice", "simulate_slice"]
