import json
import sys

import pytest
import torch

from embedkit.backbones import hub
from embedkit.cli import main
from embedkit.workflows import doctor


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(hub, "hub_reachable", lambda _timeout=0: False)
    monkeypatch.setattr(hub, "in_cache", lambda _name: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def look(monkeypatch):
    """Findings by what was looked at; only a few packages, as importing all takes a while."""
    monkeypatch.setattr(doctor, "REQUIRED", {"torch": "torch", "faiss": "faiss-gpu", "PIL": "pillow"})
    return lambda: {finding.what: finding for finding in doctor.doctor().findings}


def test_a_whole_installation_is_fine(look, capsys):
    found = look()
    assert found["torch"].found.startswith("torch 2.")
    assert found["PIL"].found.startswith("pillow ")
    assert found["faiss"].found.startswith("faiss-")
    assert "threads" in found["device"].found or found["device"].found.startswith("cuda")
    assert not any(finding.serious for finding in found.values())
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for what in found:
        assert what in shown


def test_json(look, capsys):
    look()
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert [set(finding) for finding in findings] == [{"what", "found", "fix", "serious"}] * len(findings)


@pytest.mark.parametrize(
    "error", [ImportError("no module"), OSError("libcudart.so: not found"), RuntimeError("ABI")]
)
def test_what_is_missing_or_broken_says_how_to_get_it(error, look, monkeypatch, capsys):
    import importlib

    real = importlib.import_module

    def planted(name):
        if name == "faiss":
            raise error
        return real(name)

    monkeypatch.setattr(importlib, "import_module", planted)
    finding = look()["faiss"]
    assert finding.serious
    assert str(error) in finding.found
    assert finding.fix == "pip install faiss-gpu"
    assert main(["doctor"]) == 1
    assert "pip install faiss-gpu" in capsys.readouterr().out


def test_one_broken_look_does_not_stop_the_others(look, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # `import faiss` raises ImportError
    found = look()
    assert found["faiss"].serious
    assert found["faiss computes on"].found.startswith("not looked at")
    assert "disk here" in found


def test_the_hub_out_of_reach_names_the_ways_out(look):
    finding = look()["model hub"]
    assert "not reachable" in finding.found
    assert "is not in the cache" in finding.found
    assert "--weights FILE" in finding.fix
    assert not finding.serious


def test_a_filled_cache_or_a_hub_in_reach_needs_nothing(look, monkeypatch):
    monkeypatch.setattr(hub, "in_cache", lambda _name: True)
    assert look()["model hub"].fix == ""
    monkeypatch.setattr(hub, "in_cache", lambda _name: False)
    monkeypatch.setattr(hub, "hub_reachable", lambda _timeout=0: True)
    finding = look()["model hub"]
    assert finding.found.startswith("reachable")
    assert finding.fix == ""


def test_offline_mode_is_named_and_the_hub_not_asked(look, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "hub_reachable", lambda _timeout=0: pytest.fail("asked"))
    assert "switched off by HF_HUB_OFFLINE" in look()["model hub"].found


@pytest.mark.parametrize("native", [True, False])
def test_precision_says_what_auto_takes(native, look, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert look()["precision auto"].found.startswith("bf16" if native else "fp32")


def test_little_disk_is_said(look, monkeypatch):
    usage = type("usage", (), {"free": 2**29})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    assert look()["disk here"].fix.startswith("less than 1 GiB")


def test_the_sample_dataset_says_how_to_get_it(look, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert look()["sample dataset"].fix == "pip install firstgalaxydata==0.2.1"
