"""The command as a whole: exit codes, help that is quick, and never a traceback for a user's mistake."""

import errno
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from embedkit import verbs
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.verbs import VERBS

HEAVY = ("torch", "sklearn", "scipy", "faiss", "umap", "plotly", "hdbscan", "numba", "timm", "PIL")
EMBEDKIT = (sys.executable, "-m", "embedkit.cli")


def fresh_python(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# --- help ------------------------------------------------------------------------------------------


def test_help_lists_every_verb_and_imports_next_to_nothing():
    code = (
        "import sys; from embedkit.cli import main; code = main(['--help']);"
        f"print([m for m in {(*HEAVY, 'numpy', 'h5py', 'rich')} if m in sys.modules]); sys.exit(code)"
    )
    done = fresh_python(code)
    assert done.returncode == 0
    *shown, imported = done.stdout.splitlines()
    assert imported == "[]"
    for verb in VERBS:
        assert any(line.split()[:1] == [verb] for line in shown)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_imports_nothing_heavy(verb):
    code = (
        "import sys; from embedkit.cli import main; code = main(sys.argv[1:]);"
        f"print([m for m in {HEAVY} if m in sys.modules]); sys.exit(code)"
    )
    done = fresh_python(code, verb, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: embedkit {verb}")
    assert done.stdout.splitlines()[-1] == "[]"
    assert "default: None" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        "extract nowhere",
        "extract . --weights nowhere.pth",
        "extract . --adapter nowhere",
        "pretrain nowhere -o x",
        "bench nowhere --backbones pixels:4",
        "attention nowhere",
        "finetune . --recipe nowhere",
        "probe nowhere.h5",
        "probe . --labels nowhere.csv",
    ],
)
def test_what_is_not_there_is_refused_before_anything_heavy_is_imported(words):
    code = (
        "import sys; from embedkit.cli import main; code = main(sys.argv[1:]);"
        f"print([m for m in {HEAVY[:-1]} if m in sys.modules]); sys.exit(code)"
    )
    done = fresh_python(code, *words.split())
    assert done.returncode in (1, 2)
    assert "nowhere" in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_help_costs_under_a_third_of_a_second_more_than_python_itself():
    def seconds(*command):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    own = min(seconds(*EMBEDKIT, "--help") for _ in range(5))
    python = min(seconds(sys.executable, "-c", "pass") for _ in range(5))
    assert own - python < 0.3


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"embedkit {version('embedkit-images')}\n"


def test_no_verb_shows_the_help_and_is_bad_usage(capsys):
    assert main([]) == 2
    assert "usage: embedkit" in capsys.readouterr().out


def test_an_unknown_verb_lists_the_known(capsys):
    assert main(["extrct", "folder"]) == 2
    said = capsys.readouterr().err
    assert "invalid choice: 'extrct'" in said
    for verb in VERBS:
        assert verb in said


def test_the_installed_command_is_this_one():
    scripts = Path(sys.executable).parent / "embedkit"
    if not scripts.exists():
        pytest.skip("embedkit is not installed beside this Python")
    done = subprocess.run([scripts, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"embedkit {version('embedkit-images')}\n"


# --- exit codes ------------------------------------------------------------------------------------


def _raise(error):
    def handler(_args):
        raise error

    return lambda _parser: handler


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (lambda _parser: lambda _args: None, 0, ""),
        (lambda _parser: lambda _args: 1, 1, ""),
        (
            _raise(EmbedkitError("f.h5: gone. Make it again.")),
            1,
            "embedkit: error: f.h5: gone. Make it again.\n",
        ),
        (_raise(UsageError("--k 0: give 1 or more.")), 2, "embedkit: error: --k 0: give 1 or more.\n"),
        (_raise(KeyboardInterrupt()), 130, "embedkit: error: interrupted. What was finished is kept"),
        (
            _raise(OSError(errno.ENOSPC, "No space left", "runs/f.h5")),
            1,
            "runs/f.h5: no room left on the disk",
        ),
        (_raise(OSError(errno.EDQUOT, "Quota", "runs/f.h5")), 1, "runs/f.h5: no room left on the disk"),
        (_raise(PermissionError(errno.EACCES, "Permission denied", "/x")), 1, "/x: Permission denied.\n"),
        (_raise(OSError("odd")), 1, "a file: odd.\n"),
        (
            _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 24.00 MiB. GPU 0 has")),
            1,
            "embedkit: error: memory ran out. CUDA out of memory. Other programs may hold some of it.",
        ),
        (_raise(MemoryError("Unable to allocate 7.46 GiB")), 1, "Unable to allocate 7.46 GiB. Other"),
    ],
    ids=[
        "done",
        "failed",
        "error",
        "usage",
        "interrupted",
        "disk full",
        "quota",
        "permission",
        "odd",
        "card",
        "memory",
    ],
)
def test_exit_codes(outcome, code, said, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "planted", type(sys)("planted"))
    sys.modules["planted"].configure = outcome
    monkeypatch.setitem(VERBS, "plant", verbs.Verb("planted", "planted:configure"))
    assert main(["plant"]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert (said == "") is (shown.err == "")
    assert shown.out == ""


def test_a_defect_of_ours_is_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "planted", type(sys)("planted"))
    sys.modules["planted"].configure = _raise(ZeroDivisionError())
    monkeypatch.setitem(VERBS, "plant", verbs.Verb("planted", "planted:configure"))
    with pytest.raises(ZeroDivisionError):
        main(["plant"])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["datasets"], ["datasets", "--json"], ["extract", "--help"]]
)
def test_a_reader_that_has_gone_is_no_error_to_see(arguments):
    reader, writer = os.pipe()
    os.close(reader)  # as `| head -1` leaves it
    try:
        done = subprocess.run(
            [*EMBEDKIT, *arguments], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_head(tmp_path):
    command = f"'{sys.executable}' -m embedkit.cli datasets --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_an_interrupt_while_modules_load_is_no_traceback():
    code = (
        "import signal, sys, threading\n"
        "import embedkit.cli as cli, embedkit.verbs as verbs\n"
        "def configure(parser):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "sys.modules['planted'] = type(sys)('planted'); sys.modules['planted'].configure = configure\n"
        "cli.VERBS['plant'] = verbs.Verb('planted', 'planted:configure')\n"
        "sys.exit(cli.main(['plant']))"
    )
    done = fresh_python(code)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.startswith("embedkit: error: interrupted.")


# --- a user's mistakes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """What the bad command lines below name: files sound, broken and foreign."""
    place = tmp_path_factory.mktemp("world")
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 6)).astype(np.float32)
    ids = [f"{i}" for i in range(40)]
    write_features(place / "labelled.h5", x, Rows(ids, labels=[0, 1] * 20, class_names=("a", "b")))
    write_features(place / "plain.h5", x, Rows(ids))
    write_features(
        place / "nan.h5", np.where(x > 2, np.nan, x), Rows(ids, labels=[0, 1] * 20, class_names=("a", "b"))
    )
    write_features(place / "same.h5", np.ones((40, 6)), Rows(ids, labels=[0, 1] * 20, class_names=("a", "b")))
    write_features(place / "one.h5", x[:1], Rows(["1"], labels=[0], class_names=("a",)))
    write_features(place / "none.h5", x[:0], Rows([]))
    (place / "cut.h5").write_bytes((place / "labelled.h5").read_bytes()[:3000])
    (place / "text.h5").write_text("hello")
    with h5py.File(place / "images.h5", "w") as file:
        file["images"] = np.zeros((2, 8, 8, 3), np.uint8)
    (place / "empty").mkdir()
    (place / "bad images").mkdir()
    (place / "bad images" / "a.jpg").write_text("no image")
    (place / "notes.txt").write_text("hello")
    (place / "table.csv").write_text("file,label\nnowhere.jpg,a\n")
    (place / "results.jsonl").write_text('{"task": "clu\n')
    (place / "w.safetensors").write_bytes(b"no tensors")
    return place


PIXELS = "--backbone pixels:4"
MISTAKES = {
    # command line: (exit code, what is said)
    "datasets nowhere": (2, "nowhere: no such file or folder, and no dataset of that name"),
    "datasets notes.txt": (2, "not a dataset by its ending"),
    "datasets empty": (1, "empty"),
    "datasets table.csv": (1, "nowhere.jpg"),
    "datasets simulated --n many": (2, "'many': give an integer of at least 1"),
    "datasets simulated --n -3": (2, "--n -3: give an integer of at least 1"),
    "datasets empty --threshold 0.8": (2, "--threshold does not apply"),
    "datasets galaxy-zoo-2 --path nowhere": (1, "nowhere"),
    "datasets labelled.h5": (2, "a feature file, not a dataset of images"),
    "datasets cut.h5": (1, "cut.h5"),
    "extract": (2, "the following arguments are required: DATASET"),
    f"extract nowhere {PIXELS}": (2, "nowhere: no such file or folder"),
    f"extract nowhere {PIXELS} --views galaxi:4": (2, "--views"),
    f"extract empty {PIXELS}": (1, "empty"),
    f"extract text.h5 {PIXELS}": (1, "text.h5"),
    "extract images.h5 --backbone pixels:x": (2, "give pixels:N"),
    "extract images.h5 --backbone vit_smal_patch16_224": (2, "Close: vit_small_patch16_224"),
    "extract images.h5 --backbone vit_small_patch16_224.dion": (2, "no weights called 'dion'"),
    "extract images.h5 --backbone local-dir:nowhere": (1, "no config.json there"),
    "extract images.h5 --backbone test_vit --weights nowhere.pth": (1, "nowhere.pth: no such weights file"),
    "extract images.h5 --backbone test_vit --weights w.safetensors": (1, "not a readable safetensors file"),
    "extract images.h5 --backbone test_vit --random-init 0 --adapter nowhere": (1, "no adapter_config.json"),
    "extract images.h5 --backbone test_vit --random-init 0 --weights w.safetensors": (
        2,
        "exclude each other",
    ),
    "extract images.h5 --backbone test_vit --random-init 0 --layers b99": (2, "--layers b99"),
    "extract images.h5 --backbone test_vit --random-init 0 --image-size 33": (
        2,
        "can't take input of 33 pixels",
    ),
    "extract images.h5 --backbone test_resnet --random-init 0 --pool cls": (2, "has no CLS token"),
    f"extract images.h5 {PIXELS} --pool max": (2, "--pool: invalid choice: 'max'"),
    f"extract images.h5 {PIXELS} --views galaxy": (2, "--views galaxy"),
    f"extract images.h5 {PIXELS} --precision fp8": (2, "--precision: invalid choice: 'fp8'"),
    f"extract images.h5 {PIXELS} --storage float64": (2, "--storage: invalid choice: 'float64'"),
    f"extract images.h5 {PIXELS} --device cuda:99": (2, "--device cuda:99"),
    f"extract images.h5 {PIXELS} --batch-size 0": (2, "--batch-size 0"),
    f"extract images.h5 {PIXELS} --batch-size many": (2, "'many': give an integer of at least 1"),
    f"extract images.h5 {PIXELS} --workers 0": (2, "--workers 0"),
    f"extract images.h5 {PIXELS} --limit 0": (2, "--limit 0"),
    f"extract images.h5 {PIXELS} --on-error ignore": (2, "--on-error: invalid choice: 'ignore'"),
    f"extract images.h5 {PIXELS} --shard 3": (2, "--shard: '3': give I/N"),
    f"extract images.h5 {PIXELS} --shard 3/3": (2, "--shard 3/3: give I/N, such as 0/8"),
    f"extract images.h5 {PIXELS} --center-crop 99": (1, "smaller than the centre crop of 99"),
    f"extract images.h5 {PIXELS} --center-crop 0": (2, "--center-crop 0"),
    f"extract images.h5 {PIXELS} --resize 2": (2, "resize 2 is smaller than the model input of 4"),
    f"extract images.h5 {PIXELS} --interpolation cubic": (2, "--interpolation: invalid choice: 'cubic'"),
    f"extract images.h5 {PIXELS} --std 0 0 0": (2, "--std 0: give a number above 0"),
    f"extract images.h5 {PIXELS} --mean 0.5": (2, "expected 3 arguments"),
    f"extract images.h5 {PIXELS} -o empty": (2, "empty: is a folder"),
    f"extract images.h5 {PIXELS} -o text.h5": (2, "text.h5: a text is there"),
    f"extract images.h5 {PIXELS} -o plain.h5": (1, "plain.h5: made in another way"),
    f"extract images.h5 {PIXELS} -o notes.txt/f.h5": (2, "notes.txt is a file, not a folder"),
    f"extract 'bad images' {PIXELS}": (1, "a.jpg: not an image that can be read"),
    "extract images.h5 --imaginary": (2, "unrecognized arguments: --imaginary"),
    "verify": (2, "the following arguments are required: features"),
    "verify nowhere.h5": (1, "nowhere.h5: no such file"),
    "verify images.h5": (1, "images.h5: an HDF5 file, but not a feature file"),
    "verify none.h5": (1, "none.h5: no rows."),
    "verify nan.h5": (1, "rows marked ok hold NaN"),
    "verify plain.h5 --n-rows some": (2, "--n-rows: 'some': give an integer of at least 0"),
    "cluster": (2, "the following arguments are required: features"),
    "cluster nowhere.h5": (1, "nowhere.h5: no such file"),
    "cluster cut.h5": (1, "cut.h5: not a readable HDF5 file"),
    "cluster empty": (1, "empty: a folder"),
    "cluster labelled.h5 --method magic": (2, "magic"),
    "cluster labelled.h5 -k 0": (2, "0"),
    "cluster labelled.h5 -k 41": (1, "41"),
    "cluster labelled.h5 --pca lots": (2, "lots"),
    "cluster labelled.h5 --method hdbscan -k 3": (2, "-k"),
    "cluster plain.h5": (2, "-k"),
    "cluster nan.h5": (1, "nan.h5"),
    "cluster same.h5": (1, "same.h5"),
    "cluster one.h5": (2, "only one class is present"),
    "cluster none.h5": (1, "none.h5"),
    "probe": (2, "the following arguments are required"),
    "probe nowhere.h5": (1, "nowhere.h5: no such file"),
    "probe text.h5": (1, "text.h5: not a readable HDF5 file"),
    "probe plain.h5": (1, "plain.h5: no labels"),
    "probe nan.h5": (1, "nan.h5"),
    "probe same.h5": (1, "same.h5"),
    "probe one.h5": (1, "one.h5"),
    "probe none.h5": (1, "none.h5"),
    "probe labelled.h5 --kind forest": (2, "forest"),
    "probe labelled.h5 --split file": (1, "split"),
    "probe labelled.h5 --split kfold:x": (2, "kfold:x"),
    "probe labelled.h5 --kind knn --n-neighbors 0": (2, "0"),
    "report": (2, "the following arguments are required: FILE"),
    "report nowhere.h5": (1, "nowhere.h5: no such file"),
    "report images.h5": (1, "not a feature file"),
    "report labelled.h5 --max-points 0": (2, "max-points"),
    "pretrain empty --lora-rank 8 --lora-alpha 1": (2, "--lora-alpha 1 is below --lora-rank 8"),
    "pretrain empty --random-init 0": (2, "low-rank updates of random weights learn nothing"),
    "pretrain empty --method vicreg --merge": (2, "--merge is for low-rank methods"),
    "report none.h5": (1, "none.h5"),
    "leaderboard nowhere": (1, "nowhere: no results.jsonl there"),
    "leaderboard empty": (1, "empty: no results.jsonl there"),
    "leaderboard results.jsonl": (1, "results.jsonl:1: not a result"),
    "leaderboard --format pdf": (2, "invalid choice: 'pdf'"),
    "compare nowhere.h5 labelled.h5": (1, "nowhere.h5: no such file"),
    "attention nofolder": (2, "nofolder: no such file or folder"),
    "votes nofolder": (2, "nofolder: no such file or folder"),
    "votes images.h5": (1, "no targets, such as shares of votes"),
    "votes images.h5 --validation 1": (2, "--validation 1: give a number above 0 and below 1"),
    "votes images.h5 --volunteers 1": (2, "--volunteers 1: give an integer of at least 2"),
    "votes images.h5 --merger-of new.csv": (2, "Give that model's --predictions too"),
    "votes simulated --votes --n 4 --size 16 --predictions nowhere.csv": (1, "nowhere.csv: no such file"),
    "votes simulated --votes --n 4 --size 16 --log text.h5": (1, "text.h5"),
    "compare labelled.h5": (2, "the following arguments are required"),
    "quality nowhere.h5": (1, "nowhere.h5: no such file"),
    "import nowhere.npy": (2, "nowhere.npy: no such file"),
    "label nowhere.h5": (1, "nowhere.h5: no such file"),
    "label labelled.h5 nowhere.csv": (2, "--labels nowhere.csv: no such file"),
    "similar nowhere.h5 --id a": (1, "nowhere.h5: no such file"),
    "symmetries": (2, "the following arguments are required: DATASET"),
    "symmetries nowhere": (2, "nowhere: no such file or folder, and no dataset of that name"),
    "symmetries labelled.h5": (2, "a feature file, not a dataset of images"),
    "name labelled.h5": (2, "Which groups? Give --clustering MODEL"),
    "name labelled.h5 --clustering nowhere.model.h5": (1, "nowhere.model.h5: no such file"),
    "name labelled.h5 --clustering labelled.h5": (1, "not a clustering model"),
    "similar labelled.h5": (2, "Which image? Give --id ID"),
    "similar labelled.h5 --image nowhere.jpg": (2, "--image nowhere.jpg: no such file"),
    "report labelled.h5 --transform nowhere.h5": (1, "nowhere.h5: no such file"),
    "report labelled.h5 --transform-path .": (2, "--transform-path is for the images of --transform"),
    "report labelled.h5 --transform labelled.h5": (2, "are in labelled.h5 too"),
    "export nowhere.h5": (1, "nowhere.h5: no such file"),
    "export labelled.h5 -o out.xlsx": (2, "out.xlsx: not known by its ending"),
    "export labelled.h5 labelled.h5 -o out": (2, "a projector's folder is of one feature file"),
    "export labelled.h5 -o out --vectors": (2, "--vectors is for a table"),
    "outliers nowhere.h5": (1, "nowhere.h5: no such file"),
    "outliers labelled.h5 -o out.txt": (2, "out.txt: not known by its ending"),
    "leaks nowhere.h5": (1, "nowhere.h5: no such file"),
    "bench": (2, "nothing to bench: give a dataset, or feature files"),
    "finetune": (2, "the following arguments are required: DATASET"),
    "finetune nofolder": (2, "nofolder: no such file or folder"),
    "finetune images.h5 --recipe vgg-scrach": (2, "Did you mean 'vgg-scratch'?"),
    "finetune images.h5 --recipe nowhere.toml": (1, "nowhere.toml: no such file"),
    "finetune images.h5 --recipe custom-cnn --split kfold:x": (2, "kfold:x"),
    "finetune images.h5 --recipe custom-cnn --batch-plan 0": (2, "batch_plan '0'"),
    "predict": (2, "the following arguments are required: model, DATASET"),
    "predict nowhere images.h5": (1, "nowhere: no model.json there"),
    "predict empty images.h5": (1, "empty: no model.json there"),
    "cam nowhere images.h5": (1, "nowhere: no model.json there"),
    "cam empty images.h5 --n-sanity 5": (2, "--n-sanity 5: give an integer of at least 10"),
    "cam empty": (2, "the following arguments are required: DATASET"),
    "recipes vgg-scrach": (2, "unknown recipe 'vgg-scrach'. Did you mean 'vgg-scratch'?"),
    "recipes empty": (1, "empty: a folder"),
    "recipes nowhere.toml": (1, "nowhere.toml: no such file"),
    "demo --limit few": (2, "invalid int value: 'few'"),
    "doctor now": (2, "unrecognized arguments: now"),
}


def test_the_table_of_mistakes_covers_every_verb():
    assert {line.split()[0] for line in MISTAKES} == set(VERBS)


@pytest.mark.parametrize("line", MISTAKES)
def test_a_users_mistake_gets_a_message_and_no_traceback(line, world, tmp_path, monkeypatch, capsys):
    import shlex

    code, message = MISTAKES[line]
    for place in world.iterdir():
        (tmp_path / place.name).symlink_to(place)
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)
    if arguments[0] in ("extract", "cluster", "probe") and "-o" not in arguments and len(arguments) > 1:
        arguments += ["-o", "new.h5" if arguments[0] == "extract" else "new runs"]
    assert main(arguments) == code  # an exception would leave main, and fail this test
    said = capsys.readouterr()
    assert message in (said.out + said.err if arguments[0] == "verify" else said.err)
    assert not (tmp_path / "new.h5").exists()


@pytest.mark.parametrize("verb", ["cluster", "probe", "report", "leaks", "verify"])
def test_a_feature_file_that_is_missing_is_said_before_the_heavy_imports(verb, tmp_path):
    code = (
        "import sys; from embedkit.cli import main; code = main(sys.argv[1:]); "
        "print(code, *({'torch', 'faiss', 'sklearn', 'umap'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code, verb, str(tmp_path / "nowhere.h5")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1"
    assert "nowhere.h5: no such file. Make it with `embedkit extract DATASET" in done.stderr


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (["verify", "f.h5", "--labels", "a.csv"], "`embedkit probe features.h5 --labels labels.csv`"),
        (["leaderboard", "runs", "--labels=a.csv"], "`embedkit probe features.h5 --labels labels.csv`"),
        (["probe", "f.h5", "--budgets", "5"], "Did you mean --budget?"),
        (
            ["probe", "f.h5", "--quite-another"],
            "error: unrecognized arguments: --quite-another. `embedkit probe",
        ),
        (["probe"], "required: features. `embedkit probe --help` lists the options."),
    ],
)
def test_a_wrong_call_is_told_in_a_line_or_two_with_what_was_meant(call, hint, capsys):
    assert main(call) == 2
    said = capsys.readouterr().err
    assert hint in said
    assert said.count("\n") == 1


def test_a_flag_that_names_a_dataset_is_no_place(tmp_path, capsys):
    """`--dataset` of `import` and `leaderboard` is a name, which need not be there."""
    np.save(tmp_path / "v.npy", np.eye(3))
    made = ["import", str(tmp_path / "v.npy"), "--dataset", "mine", "-o", str(tmp_path / "v.h5")]
    assert main(made) == 0, capsys.readouterr().err
