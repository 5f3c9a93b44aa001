"""Figures of tax schedules."""
