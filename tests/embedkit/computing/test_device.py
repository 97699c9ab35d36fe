import pytest
import torch

from embedkit.computing.device import choose_device, describe_device, native_bf16
from embedkit.computing.driver import backend, torch_device
from embedkit.errors import UsageError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with some GPUs, or with Apple's."""

    def pretend(*, gpus=0, mps=False):
        monkeypatch.delenv("LOCAL_RANK", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "expected"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, False, "auto", "cuda"),
        (2, True, "auto", "cuda"),
        (2, False, "cpu", "cpu"),
        (2, False, "cuda", "cuda"),
        (2, False, "cuda:1", "cuda:1"),
        (0, True, "mps", "mps"),
    ],
)
def test_the_device_is_one_that_is_there(gpus, mps, name, expected, machine):
    machine(gpus=gpus, mps=mps)
    assert str(choose_device(name)) == expected


@pytest.mark.parametrize(
    ("gpus", "name", "message"),
    [
        (0, "cuda", "--device cuda: PyTorch sees 0 CUDA devices here.*--device cpu.*embedkit doctor"),
        (2, "cuda:2", "--device cuda:2: PyTorch sees 2 CUDA devices"),
        (0, "mps", "--device mps: not available here"),
        (0, "gpu", "--device gpu: unknown. Give auto, cpu, cuda, cuda:N or mps"),
        (0, "cuda:x", "--device cuda:x: unknown"),
        (0, "", "--device : unknown"),
        (0, "meta", "--device meta: not supported"),
    ],
)
def test_a_device_that_is_not_there_is_refused_and_never_replaced(gpus, name, message, machine):
    machine(gpus=gpus)
    with pytest.raises(UsageError, match=message):
        choose_device(name)


@pytest.mark.parametrize(("rank", "expected"), [("0", "cuda:0"), ("1", "cuda:1"), ("5", "cuda:1")])
def test_under_torchrun_each_process_takes_its_own_gpu(rank, expected, machine, monkeypatch):
    machine(gpus=2)
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert str(choose_device("auto")) == expected
    assert str(choose_device("cuda:0")) == "cuda:0"  # named is named


@pytest.mark.parametrize(
    ("amx", "avx512", "native", "said"),
    [(True, True, True, "AMX"), (False, True, True, "AVX512-BF16"), (False, False, False, "none")],
)
def test_bf16_on_a_cpu(amx, avx512, native, said, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert native_bf16(torch.device("cpu")) is native
    assert f"native bf16: {said}, {torch.get_num_threads()} threads" in describe_device(torch.device("cpu"))


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_bf16_on_a_gpu(capability, native, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Some GPU")
    assert native_bf16(torch.device("cuda:0")) is native
    assert describe_device(torch.device("cuda:0")) == "cuda:0 (Some GPU)"


def test_what_needs_float64_passes_apples_gpus_over(machine):
    machine(mps=True)
    assert str(choose_device("auto", float64=True)) == "cpu"
    with pytest.raises(UsageError, match="--device mps: it has no float64.*--device cpu"):
        choose_device("mps", float64=True)
    machine(gpus=1, mps=True)
    assert str(choose_device("auto", float64=True)) == "cuda"


@pytest.mark.parametrize(
    ("driver", "gpus", "name", "expected"),
    [
        (False, 0, "auto", None),
        (True, 0, "auto", None),
        (True, 1, "auto", "cuda"),
        (True, 1, "cpu", None),
        (False, 1, "cuda", "cuda"),
    ],
)
def test_numpy_gives_way_to_a_gpu_that_is_there(driver, gpus, name, expected, machine, monkeypatch):
    machine(gpus=gpus, mps=True)
    monkeypatch.setattr("embedkit.computing.driver.has_cuda_driver", lambda: driver)
    # Apple's GPUs are passed over: what numpy computes here may need float64.
    assert torch_device(name) == expected
    assert backend(expected) == ("numpy-cpu" if expected is None else "torch-cuda")


@pytest.mark.parametrize(
    ("name", "message"), [("mps", "Give one of auto, cpu, cuda"), ("cuda", "PyTorch sees 0")]
)
def test_numpy_gives_way_to_no_gpu_that_is_not_there(name, message, machine):
    machine()
    with pytest.raises(UsageError, match=f"--device {name}: .*{message}"):
        torch_device(name)


def test_bf16_elsewhere_is_not_counted_on():
    assert not native_bf16(torch.device("mps"))
    assert describe_device(torch.device("mps")) == "mps"
