"""Prefix beam search, by which `CTC` finds its most probable label sequences."""

import numpy as np

__all__ = ["prefix_beam_search"]


def prefix_beam_search(log_p: np.ndarray, width: int, blank: int) -> list[tuple[int, ...]]:
    """The prefixes that a beam of that width keeps to the end, the most probable first.

    The probability of a prefix is kept in two parts, by whether its alignments end with a blank,
    since a label that repeats the last one makes a longer prefix only after a blank.

    Args:
        log_p: the log-probabilities of the outcomes of each frame, shape (T, K).
        width: how many prefixes are kept from frame to frame.
        blank: the outcome that is no label.

    >>> prefix_beam_search(np.log([[0.6, 0.4], [0.6, 0.4]]), width=2, blank=0)
    [(1,), ()]
    """
    prefixes: list[tuple[int, ...]] = [()]
    with_blank, with_label = np.zeros(1), np.full(1, -np.inf)
    for frame in log_p:
        total = np.logaddexp(with_blank, with_label)
        last = np.array([prefix[-1] if prefix else blank for prefix in prefixes])
        longer = total[:, None] + frame
        longer[np.arange(len(prefixes)), last] = with_blank + frame[last]
        longer[:, blank] = -np.inf
        with_blank, with_label = total + frame[blank], with_label + frame[last]
        index_of = {prefix: index for index, prefix in enumerate(prefixes)}
        for index, prefix in enumerate(prefixes):  # a prefix that is longer by one, and in the beam
            shorter = index_of.get(prefix[:-1]) if prefix else None
            if shorter is not None:
                with_label[index] = np.logaddexp(with_label[index], longer[shorter, prefix[-1]])
                longer[shorter, prefix[-1]] = -np.inf
        scores = np.concatenate([np.logaddexp(with_blank, with_label), longer.ravel()])
        best = np.arange(len(scores))
        if len(scores) > width:
            best = np.argpartition(-scores, width - 1)[:width]
        best = best[scores[best] > -np.inf]
        stays = best[best < len(prefixes)]
        parents, labels = np.divmod(best[best >= len(prefixes)] - len(prefixes), len(frame))
        prefixes = [prefixes[index] for index in stays] + [
            (*prefixes[parent], int(label)) for parent, label in zip(parents, labels, strict=True)
        ]
        with_label = np.concatenate([with_label[stays], longer[parents, labels]])
        with_blank = np.concatenate([with_blank[stays], np.full(len(parents), -np.inf)])
    order = np.argsort(-np.logaddexp(with_blank, with_label), kind="stable")
    return [prefixes[index] for index in order]
