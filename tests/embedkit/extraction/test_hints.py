"""What is said before an extraction begins."""

from types import SimpleNamespace

import numpy as np
import pytest

from embedkit.console.foretelling import in_words
from embedkit.extraction import hints


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(31, "31 seconds"), (119.9, "2 minutes"), (5399, "90 minutes"), (9000, "2.5 hours")],
)
def test_a_time_in_words(seconds, words):
    assert in_words(seconds) == words


def test_a_long_extraction_says_so_beforehand_and_computes_the_same(tmp_path, monkeypatch, capsys, tiny):
    from embedkit.extraction.extract import extract

    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), dtype=np.uint8))
    extract(str(tmp_path / "a.npy"), tmp_path / "quiet.h5", backbone=tiny)
    assert "images of 32 x 32" not in capsys.readouterr().err
    monkeypatch.setattr(hints, "LONG_SECONDS", 0.0)
    extract(str(tmp_path / "a.npy"), tmp_path / "told.h5", backbone=tiny)
    assert "40 images of 32 x 32 pixels: one takes" in capsys.readouterr().err
    assert (tmp_path / "quiet.h5").read_bytes() == (tmp_path / "told.h5").read_bytes()


def test_what_the_first_pass_pays_once_is_not_foretold_of_all(monkeypatch, capsys):
    took = iter([2.5, 4 * 0.2, 16 * 0.1])
    now = [0.0]

    def forward(job, batch, precision):
        now[0] += next(took)

    monkeypatch.setattr(hints, "forward", forward)
    monkeypatch.setattr(hints.time, "perf_counter", lambda: now[0])
    own = SimpleNamespace(image_size=32, channels=3)
    job = SimpleNamespace(
        views=SimpleNamespace(n=4),
        device=SimpleNamespace(type="cpu"),
        backbone=SimpleNamespace(preprocessing=own),
    )
    hints.say_time(job, 300, "bf16")
    assert "About 2 minutes for 1,200 images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("side", "words", "said"), [(300, [], True), (300, ["--center-crop", "256"], False), (256, [], False)]
)
def test_the_backbone_that_comes_along_says_what_crop_it_was_trained_on(side, words, said, tmp_path, capsys):
    from embedkit.cli import main

    np.save(tmp_path / "a.npy", np.zeros((2, side, side, 3), np.uint8))
    call = ["extract", str(tmp_path / "a.npy"), "--backbone", "embedkit-galaxy", "-o", str(tmp_path / "f.h5")]
    assert main([*call, *words]) == 0
    assert ("--center-crop 256" in capsys.readouterr().err) == said


@pytest.mark.parametrize(("epochs", "said"), [(3, True), (30, False)])
def test_a_pretraining_of_few_steps_says_how_many_have_helped(epochs, said, capsys):
    from pretrain.options import PretrainCall
    from pretrain.run import say_steps

    say_steps(600, PretrainCall(epochs=epochs, batch_size=64, held_out=64))
    told = capsys.readouterr().err
    assert told.startswith("24 steps of 64 images are few: 660 of 32") == said
    assert ("--epochs 83" in told) == said
