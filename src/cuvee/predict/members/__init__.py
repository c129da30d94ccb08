"""Adapters: one file for each kind of trained thing, each the only one that imports its library."""
