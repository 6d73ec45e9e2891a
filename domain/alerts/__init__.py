"""Alerts: rules that watch values, and what happens when they come true."""
