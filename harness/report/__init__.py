"""Findings -> what a person reads. No arithmetic."""
