"""Mixtures of experts built from dense models: layouts, gates, and what becomes of every tensor."""
