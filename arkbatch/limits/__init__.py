"""Rates, the adaptive limit, the circuit breaker, and the limiter that admits calls."""
