"""Ensembles trained from scratch: true estimators of scikit-learn over the same combiners as everything else.

These files import scikit-learn at their top, because they inherit from it; `cuvee.predict` loads them when one of their
names is asked for, never before.
"""
