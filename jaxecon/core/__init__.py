"""Foundations without economics: files, processes, compiled programs, random numbers, errors."""
