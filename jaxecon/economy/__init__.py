"""Cohorts in one economy: people, state, days, years."""
