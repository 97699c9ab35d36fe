"""What a training leaves: read back as it was written, and refused in words where it is damaged."""

import math

import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.training import (
    LOG,
    RECORD,
    TrainingRecord,
    read_log,
    read_record,
    write_log,
    write_record,
)


def test_a_log_and_a_record_come_back(tmp_path):
    log = [{"epoch": 0.0, "rankme": 4.5}, {"epoch": 1.0, "loss": 0.1 + 0.2, "rankme": math.nan}]
    write_log(tmp_path / LOG, log)
    assert read_log(tmp_path / LOG) == [log[0], {"epoch": 1.0, "loss": 0.1 + 0.2}]
    record = TrainingRecord("pretraining", "dino", "vit", "d", "f", 3, "embedkit pretrain d", 2, "Kept.")
    assert read_record(tmp_path) is None
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


@pytest.mark.parametrize(
    "text", ["", "epoch\n", "loss\n1\n", "epoch,loss\nx,1\n", "epoch,loss\n,1\n", "epoch\n1,2\n", "\ud800"]
)
def test_what_is_no_log_is_named(tmp_path, text):
    (tmp_path / LOG).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(EmbedkitError, match=r"log.csv: no log of a training .*Restore"):
        read_log(tmp_path / LOG)


@pytest.mark.parametrize("text", ["", "[]", '{"kind": 1}'])
def test_what_is_no_record_is_named(tmp_path, text):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(EmbedkitError, match=r"training.json: no record of a training"):
        read_record(tmp_path)
