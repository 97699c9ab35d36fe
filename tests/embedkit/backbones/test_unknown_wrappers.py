"""Networks inside a module that somebody has named as nobody else does, beside a classifier of their own."""

from __future__ import annotations

import pytest
import torch

from embedkit.errors import EmbedkitError
from tests.embedkit.backbones.test_weights_that_belong import is_of, loaded, state_of, wrapped

TINY = "test_vit"
WIDTH = 64


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return state_of(TINY)


@pytest.mark.parametrize(
    ("prefix", "head"),
    [
        ("my_net.", "clf"),
        ("0.", "1"),
        ("student_vit.", None),
        ("lit.my.", "other.head2"),
        ("my.module.", "fc.3"),
        ("net.encoder.feature.", None),
    ],
)
def test_a_wrapper_of_any_name_comes_off(prefix, head, state, tmp_path):
    beside = {} if head is None else {f"{head}.weight": torch.ones(3, WIDTH), f"{head}.bias": torch.ones(3)}
    backbone = loaded({"state_dict": wrapped(state, prefix) | beside, "epoch": 3}, tmp_path / "w.pth")
    assert is_of(backbone, state)
    assert sum(backbone.tensors["ignored"].values()) == len(beside)


def test_of_two_networks_of_unknown_names_none_is_chosen(state, tmp_path):
    both = wrapped(state, "net_a.") | wrapped(state_of(TINY, seed=6), "net_b.")
    with pytest.raises(EmbedkitError, match="not the weights of test_vit"):
        loaded(both, tmp_path / "w.pth")


def test_what_stands_beside_and_reads_no_features_is_refused_and_said_to_be_beside(state, tmp_path):
    beside = {"margin.centres": torch.ones(5, 7)}
    with pytest.raises(EmbedkitError, match=r"beside the network, such as margin.centres.*is whole"):
        loaded(wrapped(state, "backbone.") | beside, tmp_path / "w.pth")
    # The advice works.
    assert is_of(loaded(wrapped(state, "backbone."), tmp_path / "w.pth"), state)


def test_an_adapter_that_is_not_merged_is_named(state, tmp_path):
    renamed = {name.replace("qkv.weight", "qkv.base_layer.weight"): value for name, value in state.items()}
    renamed["blocks.0.attn.qkv.lora_A.default.weight"] = torch.ones(4, WIDTH)
    with pytest.raises(EmbedkitError, match=r"adapter that is not merged.*merge_and_unload.*--adapter"):
        loaded(wrapped(renamed, "base_model.model."), tmp_path / "w.pth")
