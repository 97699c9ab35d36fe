"""The command, on a miniature ViT and a few images."""

import html
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embedkit.backbones.checkpoints.digest import sizeless_sha256
from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.cli import main
from embedkit.errors import EmbedkitError
from embedkit.files.store import FeatureFile
from embedkit.files.training import read_record
from embedkit.images.options import Overrides
from pretrain.adapters import add_lora, key_masks
from pretrain.artefact import merge, save_adapter
from pretrain.journal import as_today
from pretrain.options import LoRA

SMALL = ["--image-size", "32", "--resize", "32", "--batch-size", "8", "--held-out", "8", "--device", "cpu"]
SMALL += ["--local-size", "32", "--prototypes", "16"]


@pytest.fixture
def images(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(40):
        pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03}.png")
    return tmp_path / "images"


@pytest.fixture
def weights(tmp_path):
    from pretrain.artefact import save_checkpoint

    return save_checkpoint(load_backbone(SPEC).model, tmp_path / "base.safetensors")


SPEC = BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))


def command(images, weights, out, *more):
    return [
        "pretrain",
        str(images),
        "--backbone",
        "test_vit",
        "--weights",
        str(weights),
        *SMALL,
        "-o",
        str(out),
        *more,
    ]


def extract(images, weights, out, *more):
    line = ["extract", str(images), "--backbone", "test_vit", "--weights", str(weights), "--image-size", "32"]
    assert main([*line, "--resize", "32", "--precision", "fp32", "-o", str(out), *more]) == 0
    from embedkit.files.store import FeatureFile

    with FeatureFile(out) as file:
        return file.read()


def test_lora_begins_as_the_frozen_backbone_bit_for_bit(tmp_path):
    backbone = load_backbone(SPEC)
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        before = backbone.model(x)
        adapted = add_lora(backbone.model, LoRA(lora_rank=4, lora_alpha=4), name="test_vit").eval()
        assert torch.equal(adapted(x), before)


def test_only_queries_and_values_move_and_merging_changes_nothing(tmp_path):
    adapted = add_lora(load_backbone(SPEC).model, LoRA(lora_rank=4, lora_alpha=8), name="test_vit").eval()
    moving = [p for p in adapted.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(moving, lr=0.05)
    x = torch.randn(3, 3, 32, 32)
    for _ in range(3):
        optimiser.zero_grad()
        adapted(x).square().sum().backward()
        for parameter, mask in key_masks(adapted):
            parameter.grad *= mask
        optimiser.step()
    b = [p for name, p in adapted.named_parameters() if "lora_B" in name]
    d = len(b[0]) // 3
    for part in b:
        assert part[d : 2 * d].abs().max() == 0
        assert part[:d].abs().max() > 0
        assert part[2 * d :].abs().max() > 0
    save_adapter(adapted, tmp_path / "adapter", base={"name": "test_vit"})
    merge(adapted, tmp_path / "merged.safetensors")
    pre = SPEC.preprocessing
    unmerged = load_backbone(
        BackboneSpec("test_vit", random_init=0, adapter=tmp_path / "adapter", preprocessing=pre)
    )
    merged = load_backbone(
        BackboneSpec("test_vit", weights=tmp_path / "merged.safetensors", preprocessing=pre)
    )
    with torch.inference_mode():
        torch.testing.assert_close(unmerged.model(x), adapted(x))
        torch.testing.assert_close(merged.model(x), unmerged.model(x), rtol=1e-5, atol=1e-5)


def test_the_adapter_that_is_saved_is_what_extract_takes(images, weights, tmp_path):
    out = tmp_path / "run"
    assert main(command(images, weights, out, "--epochs", "2", "--lr", "1e-3", "--merge")) == 0
    frozen = extract(images, weights, tmp_path / "frozen.h5")
    adapted = extract(images, weights, tmp_path / "adapted.h5", "--adapter", str(out / "adapter"))
    merged = extract(images, out / "model.safetensors", tmp_path / "merged.h5")
    assert np.abs(adapted - frozen).max() > 1e-5
    np.testing.assert_allclose(merged, adapted, atol=1e-5)
    assert "weights_sha256" in (out / "adapter" / "base.json").read_text()
    chosen = json.loads((out / "chosen.json").read_text())
    page = (out / "report.html").read_text()
    assert f"Kept epoch {chosen['epoch']} of 2" in page
    record = read_record(out)
    assert (record.kind, record.backbone, record.kept) == ("pretraining", "test_vit", chosen["epoch"])
    assert html.escape(record.command) in page
    assert (
        page.count('<svg class="figure"') == len((out / "log.csv").read_text().split("\n")[0].split(",")) - 2
    )
    assert page.count("data:image/jpeg") == 1
    assert "http" not in page.replace("http-equiv", "")
    last = (out / "adapter-last" / "adapter_model.safetensors").read_bytes()
    same = last == (out / "adapter" / "adapter_model.safetensors").read_bytes()
    assert same == (chosen["epoch"] == chosen["last_epoch"])


@pytest.mark.parametrize("trained", ["--adapter", "--weights"])
def test_the_commands_of_the_page_do_what_they_say(trained, images, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    method = ["--method", "dino"] if trained == "--weights" else []
    out = Path("a run")  # to be quoted
    assert main(command(images, weights, out, "--epochs", "1", *method)) == 0
    page = (out / "report.html").read_text()
    judging, again = (
        html.unescape(page.split(f'id="{name}"')[1].split("<pre")[1].split(">", 1)[1].split("<")[0])
        for name in ("judge", "run")
    )
    before, after, compare = judging.split("\n")
    for line in (before, after):
        assert main(shlex.split(line)[1:]) == 0
    frozen = extract(images, weights, tmp_path / "frozen.h5")
    with FeatureFile(out / "before.h5") as one, FeatureFile(out / "after.h5") as other:
        lengths = np.linalg.norm(one.read(), axis=1) * np.linalg.norm(frozen, axis=1)
        assert ((one.read() * frozen).sum(axis=1) > 0.999 * lengths).all()  # in bf16, where that agrees
        assert np.abs(one.read() - other.read()).max() > 0
    assert shlex.split(compare)[:2] == ["embedkit", "compare"]
    assert main(shlex.split(again)[1:]) == 0  # it is done already, by the same options


def test_an_adapter_is_for_the_weights_it_was_trained_on(images, weights, tmp_path):
    out = tmp_path / "run"
    assert main(command(images, weights, out, "--epochs", "1")) == 0
    base = json.loads((out / "adapter" / "base.json").read_text())
    other = BackboneSpec("test_vit", random_init=1, adapter=out / "adapter", preprocessing=SPEC.preprocessing)
    ours = sizeless_sha256(load_backbone(replace(other, adapter=None)).model.state_dict())
    told = (
        rf"other weights of test_vit: on {base['sizeless_sha256'][:12]} \(base.safetensors\), and these are "
    )
    with pytest.raises(EmbedkitError, match=told + ours[:12]):
        load_backbone(other)
    # The same values from another container, and at another image size, are the same weights.
    load_backbone(replace(other, random_init=0))
    load_backbone(replace(other, random_init=0, preprocessing=Overrides(image_size=64, resize=64)))
    (out / "adapter" / "base.json").unlink()  # a plain PEFT folder says nothing of its base
    load_backbone(other)


@pytest.mark.parametrize("method", ["dino", "vicreg"])
def test_a_run_leaves_a_checkpoint_and_a_log(method, images, tmp_path):
    out = tmp_path / "run"
    line = ["pretrain", str(images), "--backbone", "test_vit", "--random-init", "0", *SMALL, "-o", str(out)]
    assert main([*line, "--method", method, "--epochs", "1", "--koleo", "0.1"]) == 0
    header = (out / "log.csv").read_text().splitlines()[0]
    assert "rankme" in header
    assert ("teacher_entropy" in header) == (method == "dino")
    extract(images, out / "model.safetensors", tmp_path / "f.h5")


def test_killed_and_resumed_gives_the_same_losses(images, weights, tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    more = ["--epochs", "4", "--lr", "1e-4"]
    assert main(command(images, weights, whole, *more)) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "embedkit.cli", *command(images, weights, killed, *more)],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    deadline = time.monotonic() + 300
    while not (killed / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = torch.load(killed / "checkpoint.pt", weights_only=True)
    if state["step"] == 16:
        pytest.skip("this machine finished before the kill")
    assert main(command(images, weights, killed, *more)) == 0
    assert "Going on after step" in capsys.readouterr().err
    assert losses(killed) == losses(whole)


def losses(folder):
    return [line.split(",")[1] for line in (folder / "log.csv").read_text().splitlines()]


def test_a_run_killed_after_its_last_epoch_is_finished_by_the_same_command(images, weights, tmp_path, capsys):
    import shutil

    folder = tmp_path / "run"
    line = command(images, weights, folder, "--epochs", "1")
    assert main(line) == 0
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for lost in ("adapter", "adapter-last"):
        shutil.rmtree(folder / lost)
    for lost in ("log.csv", "chosen.json", "report.html", "curves.svg"):
        (folder / lost).unlink()
    (folder / ".adapter.new.tmp").mkdir()  # half of an adapter
    (folder / ".checkpoint.pt.77-0.tmp").write_bytes(b"half")
    assert main(line) == 0
    assert "has its" in capsys.readouterr().err
    (folder / ".checkpoint.pt.77-0.tmp").unlink()  # no checkpoint was written again
    assert {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == whole
    assert main([*line, "--epochs", "2"]) == 1
    assert "begun with other options" in capsys.readouterr().err


def test_a_second_training_in_one_folder_is_refused(images, weights, tmp_path, capsys):
    from embedkit.files.lock import folder_locked

    with folder_locked(tmp_path / "run", "training"):
        assert main(command(images, weights, tmp_path / "run", "--epochs", "1")) == 1
    assert "another process is training there right now" in capsys.readouterr().err


def test_an_update_scale_below_one_is_refused(images, weights, tmp_path, capsys):
    line = command(images, weights, tmp_path / "run", "--lora-rank", "32", "--lora-alpha", "1")
    assert main(line) == 2
    assert "--lora-alpha 1 is below --lora-rank 32" in capsys.readouterr().err


def test_a_random_start_must_be_asked_for_and_is_not_for_lora(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("embedkit.backbones.hub.hub_reachable", lambda _timeout=0: False)
    line = ["pretrain", str(images), "--backbone", "vit_tiny_patch16_224", "-o", str(tmp_path / "run")]
    assert main(line) == 1
    assert "can't be reached" in capsys.readouterr().err
    assert main([*line, "--random-init", "0"]) == 2
    assert "low-rank updates of random weights learn nothing" in capsys.readouterr().err


def test_the_head_and_the_teacher_move(tmp_path):
    from pretrain.options import PretrainOptions
    from pretrain.trainer import Run
    from pretrain.without_labels import WithoutLabels

    frames = torch.randint(0, 255, (24, 3, 40, 40), dtype=torch.uint8)
    options = PretrainOptions(
        batch_size=8, held_out=8, epochs=2, local_views=0, prototypes=16, lr=1e-2, device="cpu"
    )
    run = Run(WithoutLabels(load_backbone(SPEC), frames, options), tmp_path)
    names = ("head", "teacher_head", "teacher")
    modules = run.objective.modules()
    before = {name: [p.clone() for p in modules[name].parameters()] for name in names}
    last = modules["head"].last.weight.clone()
    for step, batch in enumerate(run.task.batches.ahead(0, 4)):
        run.update(batch)
        run.step += 1
        assert torch.equal(modules["head"].last.weight, last) == (step < 2)  # it rests for the first epoch
    for name in names:
        moved = [not torch.equal(a, b) for a, b in zip(before[name], modules[name].parameters(), strict=True)]
        assert any(moved), name


def test_show_views_writes_a_sheet(images, weights, tmp_path):
    out = tmp_path / "run"
    for preset in ("galaxy", "natural"):
        assert main(command(images, weights, out, "--show-views", "--view-preset", preset)) == 0
        with Image.open(out / "views.png") as sheet:
            assert sheet.size == (6 * 32, 8 * 32)


def test_the_call_says_what_it_made_and_shows_itself(images, weights, tmp_path, capsys):
    import embedkit

    how = {"backbone": "test_vit", "weights": weights, "image_size": 32, "resize": 32, "device": "cpu"}
    how |= {"batch_size": 8, "held_out": 8, "local_size": 32, "prototypes": 16}
    sheet = embedkit.pretrain(images, tmp_path / "run", **how, show_views=True).sheet
    assert sheet == tmp_path / "run" / "views.png"
    made = embedkit.pretrain(images, tmp_path / "run", **how, epochs=1, lora_rank=4, lora_alpha=8, merge=True)
    assert capsys.readouterr().out == ""
    assert made.adapter == tmp_path / "run" / "adapter"
    assert made.model.is_file()
    assert made.page.is_file()
    assert [row["epoch"] for row in made.log] == [0, 1]
    assert made.chosen["epoch"] == 1
    assert "<svg" in made._repr_html_()
    assert "Kept epoch 1 of 1" in made._repr_html_()


def test_a_checkpoint_under_the_names_of_before_is_gone_on_with(tmp_path):
    from pretrain.journal import describe, read_checkpoint, write_checkpoint
    from pretrain.options import PretrainCall

    asked = describe(PretrainCall(merge=True))
    assert {"merge", "show_views"}.isdisjoint(asked)
    old = {name: value for name, value in asked.items() if not name.startswith("lora_")}
    old["lora"] = {"rank": 16, "alpha": 32, "blocks": None, "targets": "qv"}
    old |= {"views": old.pop("view_preset"), "clip": old.pop("clip_grad"), "shard": old.pop("fsdp")}
    state = {"asked": old, "step": 3, "log": [{"epoch": 1, "loss": 0.5}], "best": {}}
    write_checkpoint(tmp_path, state)
    assert read_checkpoint(tmp_path, asked, as_today) == state
    with pytest.raises(EmbedkitError, match=r"other options \(batch_size: 64 there, 32 asked for\)"):
        read_checkpoint(tmp_path, asked | {"batch_size": 32}, as_today)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("step"),
        lambda state: state.update(step="3"),
        lambda state: state.update(step=-1),
        lambda state: state.update(log=[{"epoch": "x"}]),
        lambda state: state.update(log=3),
        lambda state: state.update(best=None),
        lambda state: state.update(log=[{"epoch": 1, "loss": 10**400}]),
        lambda state: state.update(asked=[1]),
        lambda state: state["asked"].update(seed=torch.zeros(3)),
        lambda state: state["asked"].update(views=[{"angle": torch.zeros(3)}]),
        lambda state: state.clear(),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, change):
    from pretrain.journal import describe, read_checkpoint, write_checkpoint
    from pretrain.options import PretrainCall

    asked = describe(PretrainCall())
    state = {"asked": asked, "step": 3, "log": [{"epoch": 1}], "best": {}}
    change(state)
    write_checkpoint(tmp_path, state)
    with pytest.raises(EmbedkitError, match=r"checkpoint.pt: damaged.*Delete it to begin again"):
        read_checkpoint(tmp_path, asked, as_today)
    for content in (b"", b"PK", bytes(100)):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(EmbedkitError, match=r"checkpoint.pt: damaged.*Delete it to begin again"):
            read_checkpoint(tmp_path, asked, as_today)
