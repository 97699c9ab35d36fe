"""Labels and ids that were written so that no spreadsheet runs them are read as they were."""

import numpy as np

from embedkit.datasets.label_file import read_labels_by_id
from embedkit.files.tables import neutral


def test_ids_and_labels_that_begin_like_a_formula_come_back(tmp_path):
    ids = np.array(["=1+1.png", "-7.png", "@a", "plain", "'=quoted"])
    labels = ["=A", "+B", "C", "'D", "-"]
    lines = [f"{neutral(str(name))},{neutral(label)},lasso" for name, label in zip(ids, labels, strict=True)]
    (tmp_path / "l.csv").write_text("\n".join(["id,label,how", *lines]), encoding="utf-8")
    found = read_labels_by_id(tmp_path / "l.csv", ids, "f.h5")
    named = [found.class_names[code] if code >= 0 else "" for code in found.labels]
    assert named[:4] == labels[:4]
