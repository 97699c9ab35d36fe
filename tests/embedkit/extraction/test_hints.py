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


@pytest.mark.parametrize(
    ("cores", "computing", "seconds", "reads"),
    # Images take 0.2 s to read; of two threads each reads every other one, while the processor computes.
    [(2, 0.001, 4, True), (2, 0.3, 12, False), (1, 0.001, 8.04, True), (1, 0.3, 20, False)],
)
def test_a_time_foretold_counts_what_reading_takes(
    cores, computing, seconds, reads, tmp_path, monkeypatch, capsys, tiny
):
    from embedkit.extraction.extract import extract

    def slow(job, row, clock=None):
        hints.time.seconds += 0.2
        return load_image(job, row, clock)

    load_image = hints.load_image
    clock = SimpleNamespace(seconds=0.0, perf_counter=lambda: clock.seconds)
    monkeypatch.setattr(hints, "time", clock)
    monkeypatch.setattr(hints, "load_image", slow)
    monkeypatch.setattr(hints, "seconds_of_one", lambda seconds_each, passes: computing)
    monkeypatch.setattr(hints, "n_cores", lambda: cores)
    monkeypatch.setattr(hints, "LONG_SECONDS", 1.0)
    np.save(tmp_path / "a.npy", np.zeros((40, 32, 32, 3), dtype=np.uint8))
    extract(str(tmp_path / "a.npy"), tmp_path / "a.h5", backbone=tiny)
    told = capsys.readouterr().err
    assert f"About {seconds:.0f} seconds for 40 images of 32 x 32 pixels: one takes" in told
    assert ("Most of that is to read" in told) == reads
    assert ("--image-size smaller ones" in told) != reads


@pytest.mark.parametrize(
    ("passes", "took", "foretold"),
    [
        # Cold, warm; then the first pass of each size is cold too.
        (1200, {1: [2.5, 0.5], 4: [9, 4 * 0.2], 16: [20, 16 * 0.1]}, 120),
        (1200, {1: [99, 15], 4: [70, 4 * 0.5], 16: [16, 16 * 0.1]}, 120),
        (1200, {1: [0.11, 0.1], 4: [0.4, 4 * 0.09], 16: [2, 16 * 0.08]}, 96),
        (1200, {1: [9, 1], 4: [4, 4 * 0.95]}, 1140),  # as fast one by one: known
        (1200, {1: [15, 0.01]}, 12),  # short after all: nothing more is tried
        (1200, {1: [0.01]}, 12),
        (100, {1: [9, 1]}, 100),  # of few images, few are tried
    ],
)
def test_what_a_first_pass_pays_is_not_foretold_of_all(passes, took, foretold):
    def seconds_each(n):
        return took[n].pop(0) / n

    assert hints.seconds_of_one(seconds_each, passes) * passes == pytest.approx(foretold)
    assert not any(took.values())


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
