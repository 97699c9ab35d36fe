"""`embedkit doctor`: versions, device, precision, what is missing and how to get it."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedkit import console
from embedkit.files.showing import data_frame, html_table
from embedkit.options import add_json_flag
from embedkit.versions import GET_SAMPLE

# Import name and distribution name of what embedkit cannot do without.
REQUIRED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "peft": "peft",
    "faiss": "faiss-gpu",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "hdbscan": "hdbscan",
    "numpy": "numpy",
    "h5py": "h5py",
    "plotly": "plotly",
    "PIL": "pillow",
}


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Parameters
    ----------
    what
        What was looked at.
    found
        What is there.
    fix
        What to do about it; empty where nothing is needed.
    serious
        Whether embedkit cannot work without the fix.
    """

    what: str
    found: str
    fix: str = ""
    serious: bool = False


@dataclass(frozen=True)
class Examination:
    """What `doctor` found.

    Parameters
    ----------
    findings
        What was looked at, in its order.
    """

    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether embedkit can work here."""
        return not any(finding.serious for finding in self.findings)

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each finding."""
        return data_frame([asdict(finding) for finding in self.findings])

    def _repr_html_(self) -> str:
        rows = [{"what": one.what, "found": one.found, "to do": one.fix} for one in self.findings]
        return html_table("embedkit doctor", rows)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit doctor``."""
    add_json_flag(parser)
    return run


def run(args: argparse.Namespace) -> int:
    """Run ``embedkit doctor``: 0 if embedkit can work here, 1 if something serious is missing."""
    examined = doctor()
    if args.json:
        console.print_json([asdict(finding) for finding in examined.findings])
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table(title="embedkit doctor")
        for column in ("what", "found", "to do"):
            table.add_column(column, overflow="fold")
        for finding in examined.findings:
            style = "bold red" if finding.serious else "yellow" if finding.fix else ""
            table.add_row(finding.what, Text(finding.found, style=style), Text(finding.fix))
        console.print_table(table)
    return 0 if examined.works else 1


def doctor() -> Examination:
    """Look at everything that embedkit's results or speed depend on: versions, device, hub, disk."""
    findings = [
        Finding("python", f"{sys.version.split()[0]} on {platform.system()} {platform.machine()}"),
        Finding("cores", str(os.cpu_count())),
    ]
    with console.progress("looking", len(REQUIRED) + len(LOOKS), unit="things") as advance:
        for module, name in REQUIRED.items():
            findings.append(_package(module, name))
            advance()
        # What is missing above must not keep the rest from being looked at.
        for what, look in LOOKS.items():
            findings.append(_guarded(what, look))
            advance()
    return Examination(tuple(findings))


def _package(module: str, name: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, packages_distributions, version

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a package's own start-up chatter is no finding of ours
            importlib.import_module(module)
    except Exception as error:  # a broken binary raises anything, OSError and RuntimeError most often
        return Finding(module, f"can't be imported: {error}", f"pip install {name}", serious=True)
    for distribution in (name, *packages_distributions().get(module, ())):
        try:
            return Finding(module, f"{distribution} {version(distribution)}")
        except PackageNotFoundError:
            continue
    return Finding(module, "installed, version unknown")


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Exception as error:  # whatever is broken here, the rest is still worth looking at
        return Finding(what, f"not looked at: {error}")


def _device() -> Finding:
    import torch

    from embedkit.computing.device import choose_device, describe_device

    device = choose_device("auto")
    fix = ""
    if device.type == "cpu" and torch.version.cuda is not None and shutil.which("nvidia-smi"):
        fix = "there is an NVIDIA driver, but PyTorch sees no GPU: compare its CUDA version with nvidia-smi's"
    return Finding("device", describe_device(device), fix)


def _precision() -> Finding:
    from embedkit.computing.device import choose_device, native_bf16

    if native_bf16(choose_device("auto")):
        return Finding("precision auto", "bf16, where its features agree with fp32 on the first batch")
    return Finding("precision auto", "fp32: no native bf16 here")


def _faiss() -> Finding:
    import faiss
    import torch

    n_gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    found = f"{n_gpus} GPUs" if n_gpus else "CPU"
    if torch.cuda.is_available() and not n_gpus:
        return Finding("faiss computes on", found, "for k-means on the GPU: pip install faiss-gpu")
    return Finding("faiss computes on", found)


def _hub() -> Finding:
    import huggingface_hub.constants as hub

    from embedkit.backbones.hub import hub_reachable, in_cache
    from embedkit.backbones.options import DEFAULT_BACKBONE

    cached = in_cache(DEFAULT_BACKBONE)
    where = f"{hub.ENDPOINT}; cache {hub.HF_HUB_CACHE}"
    has = f"{DEFAULT_BACKBONE} {'is' if cached else 'is not'} in the cache"
    if hub.HF_HUB_OFFLINE:
        reach = "switched off by HF_HUB_OFFLINE"
    else:
        reach = "reachable" if hub_reachable(3.0) else "not reachable"
    fix = ""
    if not cached and reach != "reachable":
        fix = (
            "give --weights FILE or --backbone local-dir:FOLDER, copy a filled cache there, or take "
            "--backbone embedkit-galaxy, which needs no hub"
        )
    return Finding("model hub", f"{reach} ({where}); {has}", fix)


def _sample() -> Finding:
    from importlib.util import find_spec

    if find_spec("firstgalaxydata") is None:
        return Finding("sample dataset", "first-radio is not installed", GET_SAMPLE)
    return Finding("sample dataset", "first-radio is installed")


def _engines() -> Finding:
    from importlib.metadata import version
    from importlib.util import find_spec

    from embedkit.computing.ray_engine import GET_RAY

    if find_spec("ray") is None:
        return Finding("extract --engine", "local, torchrun; Ray is not installed", f"for ray: {GET_RAY}")
    return Finding("extract --engine", f"local, torchrun, ray {version('ray')}")


def _disk() -> Finding:
    usage = shutil.disk_usage(Path.cwd())
    fix = "less than 1 GiB left for feature files" if usage.free < 2**30 else ""
    return Finding("disk here", f"{usage.free / 2**30:,.0f} GiB free", fix)


LOOKS: dict[str, Callable[[], Finding]] = {
    "device": _device,
    "precision auto": _precision,
    "faiss computes on": _faiss,
    "model hub": _hub,
    "sample dataset": _sample,
    "extract --engine": _engines,
    "disk here": _disk,
}
