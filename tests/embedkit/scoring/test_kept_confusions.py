import json

import numpy as np
import pytest
from scipy.sparse import coo_array

from embedkit.scoring.confusions import MOST_DENSE, confusion_of, kept


def matrix(c, m):
    random = np.random.default_rng(c)
    counts = np.zeros((c, m), np.int64)
    np.add.at(counts, (random.integers(c, size=3 * c), random.integers(m, size=3 * c)), 1)
    return counts


@pytest.mark.parametrize(
    ("c", "m"), [(2, 2), (MOST_DENSE, MOST_DENSE + 1), (MOST_DENSE + 1, MOST_DENSE + 2), (400, 400)]
)
def test_what_is_kept_is_read_again(c, m):
    counts = matrix(c, m)
    outcomes = json.loads(json.dumps(kept(counts)))
    assert list(outcomes) == ["confusion" if c <= MOST_DENSE else "confusion_cells"]
    assert np.array_equal(confusion_of(outcomes), counts)
    if c > MOST_DENSE:
        row, column, count = np.transpose(outcomes["confusion_cells"]["cells"])
        shape = outcomes["confusion_cells"]["shape"]
        assert np.array_equal(coo_array((count, (row, column)), shape=shape).toarray(), counts)
        assert len(json.dumps(outcomes)) < 20 * 3 * c


@pytest.mark.parametrize(
    "outcomes",
    [
        {},
        {"confusion": None},
        {"confusion": [[1], [1, 2]]},
        {"confusion": [1, 2]},
        {"confusion": []},
        {"confusion": "text"},
        {"confusion_cells": None},
        {"confusion_cells": []},
        {"confusion_cells": {"shape": [2, 2]}},
        {"confusion_cells": {"shape": [2], "cells": []}},
        {"confusion_cells": {"shape": [0, 2], "cells": []}},
        {"confusion_cells": {"shape": [10**9, 10**9], "cells": []}},
        {"confusion_cells": {"shape": [2, 2], "cells": [[0, 2, 1]]}},
        {"confusion_cells": {"shape": [2, 2], "cells": [[-1, 0, 1]]}},
        {"confusion_cells": {"shape": [2, 2], "cells": [[0, 1]]}},
        {"confusion_cells": {"shape": [2, 2], "cells": [[0, 1, 10**30]]}},
        {"confusion_cells": {"shape": [2, float("inf")], "cells": []}},
    ],
)
def test_what_is_no_matrix_is_none(outcomes):
    assert confusion_of(outcomes) is None
