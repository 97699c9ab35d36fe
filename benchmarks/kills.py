"""Commands killed at random moments and at every kind of disk step, then given again: the same bytes?

    python benchmarks/kills.py --n 1000
    python benchmarks/kills.py --n 30 --verbs extract report

Every trial is a forked process with everything imported, which is killed with SIGKILL; then the same command
runs to its end, and its folder is held against that of a run that was never killed.
"""

from __future__ import annotations

import argparse
import collections
import filecmp
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
os.environ["NUMBA_THREADING_LAYER"] = "workqueue"  # which survives a fork

import numpy as np
import torch
from PIL import Image

from embedkit import cli

# Events of `sys.addaudithook` that change something on the disk, or take a lock.
STEPS = {
    "fcntl.flock",
    "fcntl.lockf",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.truncate",
    "shutil.rmtree",
}
TINY = "--backbone test_vit --image-size 32 --resize 32"
COMMANDS = {
    "extract": "extract {base}/images --backbone pixels:6 --views rot4 --batch-size 8 -o out/x.h5",
    "pretrain": f"pretrain {{base}}/images {TINY} --weights {{base}}/w.safetensors --lora-rank 2 "
    "--lora-alpha 2 --prototypes 16 --epochs 2 --batch-size 16 --local-views 0 --held-out 12 -o out",
    "finetune": "finetune {base}/images --recipe {base}/tiny.toml --split stratified --seeds 3 -o out",
    "bench": "bench --feature-files {base}/x.h5 {base}/y.h5 --probes knn --seeds 2 --no-reports -o out",
    "cluster": "cluster {base}/x.h5 -k 2 -o out",
    "report": "report {base}/x.h5 --runs {base}/runs -o out/map.html",
}
RECIPE = """
about = "head first, then all"
backbone = "test_vit"
weights = "random"
image_size = 32
resize = 32
augmentation = ["flip", "rotate"]
batch_plan = "8"

[head]
dropout = 0.2

[[phase]]
name = "head"
train = "head"
epochs = 2
lr = 1e-2

[[phase]]
name = "whole"
train = "all"
epochs = 2
lr = 1e-3
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1000, help="kills in all")
    parser.add_argument("--verbs", nargs="+", default=list(COMMANDS), choices=list(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--moments", action="store_true", help="every kill at a random moment, none at a disk step"
    )
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_inputs(base)
        print("| verb | kills | at a disk step | at a moment | ended before | same bytes | otherwise |")
        print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
        if "report" in args.verbs:
            compile_umap()
        for verb in args.verbs:
            print(Trials(verb, base, rng).run(args.n // len(args.verbs), moments=args.moments), flush=True)


def make_inputs(base: Path) -> None:
    """Write images, weights, feature files and some results, in processes of their own."""
    random_ = np.random.default_rng(0)
    for i in range(60):
        folder = base / "images" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.clip(random_.normal(60 if i % 2 else 190, 30, (40, 40, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
    (base / "tiny.toml").write_text(RECIPE)
    child = forked(base, lambda: write_weights(base / "w.safetensors"))
    assert wait(child) == 0
    for words in (
        "extract images --backbone pixels:4 -o x.h5",
        "extract images --backbone pixels:3 -o y.h5",
        "cluster x.h5 -k 2 -o runs",
        "probe x.h5 -o runs",
    ):
        assert wait(forked(base, partial(cli.main, words.split()))) == 0, words


def write_weights(path: Path) -> int:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("test_vit").state_dict(), path)
    return 0


class Trials:
    """Kills of one command."""

    def __init__(self, verb: str, base: Path, rng: random.Random) -> None:
        self.verb, self.base, self.rng = verb, base, rng
        self.words = COMMANDS[verb].format(base=base).split()
        self.truth = base / "truth" / verb
        # The first run of a changed tree takes longer and has more disk steps: bytecode, what numba keeps.
        first = base / "first" / verb
        first.mkdir(parents=True)
        assert wait(forked(first, lambda: cli.main(self.words))) == 0, (first / "said").read_text()
        started = time.monotonic()
        self.n_steps = self.count_steps()
        self.seconds = time.monotonic() - started

    def count_steps(self) -> int:
        """Run it once unharmed; returns its number of disk steps."""
        self.truth.mkdir(parents=True)
        read, write = os.pipe()
        child = forked(self.truth, lambda: self.counted(write))
        assert wait(child) == 0, (self.truth / "said").read_text()
        n = int(os.read(read, 64))
        os.close(read)
        os.close(write)
        return n

    def counted(self, write: int) -> int:
        seen: list[str] = []
        at_disk_steps(lambda event: seen.append(event))
        code = cli.main(self.words)
        os.write(write, str(len(seen)).encode())
        return code

    def run(self, n: int, *, moments: bool) -> str:
        """Kill n times, every second time at a moment or always; returns a row of the table."""
        counts: collections.Counter[str] = collections.Counter()
        number = 0
        while counts["kills"] < n:
            place = self.base / "trial"
            place.mkdir()
            how = "step" if number % 2 and not moments else "moment"
            killed = self.kill(place, how)
            if killed and self.rng.random() < 0.3:  # and once more, while it goes on
                self.kill(place, "moment" if moments else "step")
            code = wait(forked(place, lambda: cli.main(self.words)))
            found = self.compare(place) if code == 0 else f"exit code {code}: {(place / 'said').read_text()}"
            if killed:
                counts.update(["kills", how, "same" if not found else "otherwise"])
            else:
                counts["before"] += 1
            if found:
                print(f"{self.verb}, trial {number}, {how}: {found}", file=sys.stderr, flush=True)
            shutil.rmtree(place)
            number += 1
        cells = [counts[name] for name in ("kills", "step", "moment", "before", "same", "otherwise")]
        return f"| {self.verb} | {' | '.join(map(str, cells))} |"

    def kill(self, place: Path, how: str) -> bool:
        """Start it and kill it, at a disk step or at a moment; returns whether it was still at work."""
        if how == "step":
            last = self.rng.randrange(self.n_steps)
            return wait(forked(place, lambda: self.until(last))) == -signal.SIGKILL
        child = forked(place, lambda: cli.main(self.words))
        time.sleep(self.rng.uniform(0, self.seconds))
        os.kill(child, signal.SIGKILL)
        return wait(child) == -signal.SIGKILL

    def until(self, last: int) -> int:
        seen: list[str] = []

        def step(event: str) -> None:
            if len(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            seen.append(event)

        at_disk_steps(step)
        return cli.main(self.words)

    def compare(self, place: Path) -> str:
        """Say what is other than in the run that was never killed; nothing where all is the same."""
        mine, whole = files(place / "out"), files(self.truth / "out")
        if mine != whole:
            return f"other files: {sorted(mine ^ whole)}"
        for name in sorted(mine):
            a, b = place / "out" / name, self.truth / "out" / name
            if not a.is_dir() and not filecmp.cmp(a, b, shallow=False) and not self.alike(a, b):
                return f"{name} differs"
        return ""

    def alike(self, a: Path, b: Path) -> bool:
        """Whether two files that differ in bytes say the same: lines that a second call adds, tensors."""
        if a.name == "results.jsonl" and self.verb in ("cluster", "finetune"):
            return set(a.read_bytes().splitlines()) == set(b.read_bytes().splitlines())
        return a.suffix == ".pt" and same(torch.load(a), torch.load(b))


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def at_disk_steps(step: Callable[[str], None]) -> None:
    """Call `step` before everything that changes the disk, in this process from now on."""

    def heard(event: str, given: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)
        if event in STEPS or (writes and not str(given[0]).startswith("/dev")):
            step(event)

    sys.addaudithook(heard)


def forked(folder: Path, job: Callable[[], int]) -> int:
    """Run a job in a child, in a folder, with a clock that stands still; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        stop_the_clock()
        code = job()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def stop_the_clock() -> None:
    """Have results and pages record no time that differs from run to run."""
    from embedkit.files import results
    from pretrain.finetune import run

    moment = datetime(2000, 1, 1, tzinfo=UTC)
    stopped = type("Stopped", (), {"now": staticmethod(lambda *_: moment)})
    for module in (results, run):
        vars(module)["datetime"] = stopped
    time.perf_counter = lambda: 0.0
    then = time.gmtime(0)
    time.gmtime = lambda *_: then


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def compile_umap() -> None:
    """Have numba compile what a map needs once, before the forks, rather than in every trial."""
    import umap

    umap.UMAP(n_neighbors=5, random_state=0, n_jobs=1).fit(np.random.default_rng(0).normal(size=(60, 8)))


def import_all() -> None:
    """Import what the verbs do, so that no trial waits for it; else nothing computes before the forks."""
    import faiss  # noqa: F401
    import peft  # noqa: F401
    import sklearn.linear_model  # noqa: F401
    import timm  # noqa: F401
    import umap  # noqa: F401

    from embedkit import verbs

    for verb in verbs.VERBS.values():
        if verb.function:
            verbs.target(verb.function)


if __name__ == "__main__":
    import_all()
    main()
