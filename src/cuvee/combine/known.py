"""Classes that a member does not know, filled up with what the others say of them."""

from __future__ import annotations

import numpy as np

from cuvee.combine.parts import Array


def fill_unknown(P: Array, mask: Array, known: Array, wanting: Array) -> Array:
    """Probabilities of all classes for members that know only some.

        q_nk = mean of P_jnk over the members j with mask_jn and known_jk (0 where there are none)
        P'_mnk = q_nk                     for the classes k that m does not know
        P'_mnk = P_mnk (1 − Σ_u q_nu)     for those that it knows, u running over those that it does not

    Where the means come to more than one, which those of different members can, they are scaled to one. No weights
    take part: what is filled in is the same whatever the combiner.

    Args:
        P: `[M, N, K]`; rows of `wanting` members sum to one over the classes that they know, and are not looked at
            elsewhere.
        mask: `[M, N]`.
        known: bool `[M, K]`, or `[M, N, K]`, whose word on which class counts: False for one that got 0 or 1/K by
            another rule.
        wanting: bool `[M]`, whose rows are filled up.

    Returns:
        `[M, N, K]`; the rows of members that want nothing as they were, what is masked as well.

    Example:
        >>> P = np.array([[[0.5, 0.3, 0.2]], [[0.6, 0.4, np.nan]]])
        >>> known = np.array([[True, True, True], [True, True, False]])
        >>> fill_unknown(P, np.ones((2, 1), bool), known, np.array([False, True]))[1].round(2).tolist()
        [[0.48, 0.32, 0.2]]
    """
    each = known if known.ndim == 3 else known[:, None, :]
    counted = mask[:, :, None] & each
    count = counted.sum(axis=0)
    said = np.divide(np.where(counted, P, 0.0).sum(axis=0), count, out=np.zeros(P.shape[1:]), where=count > 0)
    filled = P.copy()
    for m in np.flatnonzero(wanting):
        theirs = np.where(each[m], 0.0, said)
        share = theirs.sum(axis=1, keepdims=True)
        theirs = np.divide(theirs, share, out=theirs, where=share > 1)
        whole = np.where(each[m], P[m] * (1 - np.minimum(share, 1)), theirs)
        filled[m] = np.where(mask[m][:, None], whole, P[m])
    return filled
