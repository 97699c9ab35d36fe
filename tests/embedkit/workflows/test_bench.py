"""`embedkit bench`: one command, from images to a leaderboard, that goes on where it was stopped."""

import json
import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import timm
from safetensors.torch import save_file

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files import store
from embedkit.files.results import Result, read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, file_sha256, write_features
from embedkit.workflows import bench_run
from embedkit.workflows.bench import measurements, sources
from embedkit.workflows.bench_file import Backbone, make_plan
from embedkit.workflows.bench_journal import Journal
from embedkit.workflows.step import Step
from reports.leaderboard import calls, table

SMALL = """
probes = ["knn --n-neighbors 3"]
clusterings = ["kmeans -k 4 --n-init 2"]
split = "kfold:2"
reports = false

[dataset]
source = "simulated"
n = 40
size = 32

[[backbones]]
name = "test_vit"
weights = "trained.safetensors"
image_size = 32
resize = 32
views = "rot4"
"""


@pytest.fixture
def features(tmp_path):
    """Two feature files of the same 60 rows in two classes, the second with views."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    rows = Rows(np.array([f"row {i}" for i in range(60)]), labels, ("a", "b"))
    x = (rng.normal(size=(60, 4)) + 3 * labels[:, None]).astype(np.float32)
    views = Views(x / np.linalg.norm(x, axis=1, keepdims=True), 0.01 * np.eye(4), 4)
    return write_features(tmp_path / "one.h5", x, rows), write_features(
        tmp_path / "views.h5", x, rows, views=views
    )


@pytest.fixture
def ran(monkeypatch):
    """The verbs that were called, in order; `stop_at[verb, n]` interrupts or fails the n-th of it."""
    verbs, stop_at, call = [], {}, Step.call

    def watched(step, *inputs, **extra):
        verbs.append(step.verb)
        if (step.verb, verbs.count(step.verb)) in stop_at:
            raise stop_at[step.verb, verbs.count(step.verb)]
        return call(step, *inputs, **extra)

    monkeypatch.setattr(Step, "call", watched)
    return verbs, stop_at


def test_engines_of_all_extractions_are_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    bench = ["bench", "simulated", "--backbones", "pixels:8", "--no-controls", "--dry-run"]
    assert main([*bench, "--engine", "torchrun", "--processes", "2"]) == 0
    assert "--backbone pixels:8 --engine torchrun --processes 2" in capsys.readouterr().out
    assert main([*bench, "--processes", "2"]) == 2
    assert "--processes needs --engine torchrun or ray" in capsys.readouterr().err


@pytest.mark.slow
def test_several_processes_compute_the_features_of_a_bench(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("embedkit.extraction.parts.PART_ROWS", 20)
    bench = [
        "bench",
        "simulated",
        "--backbones",
        "pixels:8",
        "--no-controls",
        "--limit",
        "60",
        "--no-reports",
    ]
    bench += ["--probes", "knn", "--split", "kfold:2", "--clusterings", "none"]
    assert main([*bench, "-o", "two", "--engine", "torchrun", "--processes", "2"]) == 0
    assert main([*bench, "-o", "one"]) == 0
    (two,), (one,) = ([*Path(name).glob("features/*.h5")] for name in ("two", "one"))
    assert two.read_bytes() == one.read_bytes()


def test_from_images_to_a_leaderboard_with_controls(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file(timm.create_model("test_vit").state_dict(), "trained.safetensors")
    Path("bench.toml").write_text(SMALL)
    assert main(["bench", "bench.toml", "-o", "out"]) == 0
    said = capsys.readouterr()
    results = read_results("out/results.jsonl")
    assert {(result.task, result.method) for result in results} == {("cluster", "kmeans"), ("probe", "knn")}
    assert "[control]" in said.out
    assert "Control missing" not in said.out
    board = json.loads(Path("out/leaderboard.json").read_text())
    kinds = [str(line["control"]) for line in board["results"]]
    assert sorted(kinds) == sorted(2 * ["None", "pixels", "random"])
    assert "| knn |" in Path("out/leaderboard.md").read_text()
    assert "pixels:32" in Path("out/leaderboard.html").read_text()
    control = "test_vit-image_size-32-resize-32-views-rot4-random_init-0.h5"
    pixels, drawn, trained = sorted(path.name for path in Path("out/features").glob("*.h5"))
    assert (pixels, drawn) == ("pixels-32.h5", control)
    assert re.fullmatch(r"test_vit-trained-[0-9a-f]{4}-image_size-32-resize-32-views-rot4\.h5", trained)
    with FeatureFile(f"out/features/{control}") as file:
        assert (file.n, file.n_views) == (40, 4)


def test_features_that_are_there_are_found_without_loading_a_model(tmp_path, monkeypatch, ran):
    verbs, _ = ran
    monkeypatch.chdir(tmp_path)
    save_file(timm.create_model("test_vit").state_dict(), "trained.safetensors")
    small = SMALL.replace('clusterings = ["kmeans -k 4 --n-init 2"]', "clusterings = []\ncontrols = false")
    Path("bench.toml").write_text(small)
    assert main(["bench", "bench.toml", "-o", "out"]) == 0
    assert verbs[:2] == ["extract", "probe"]
    verbs.clear()
    assert main(["bench", "bench.toml", "-o", "out"]) == 0
    assert set(verbs) == {"leaderboard"}
    verbs.clear()
    save_file(timm.create_model("test_vit").state_dict(), "trained.safetensors")  # other random weights
    assert main(["bench", "bench.toml", "-o", "out"]) == 1  # the file there is of the weights before
    assert "extract" in verbs
    Path("bench.toml").write_text(small.replace("n = 40", "n = 30"))
    verbs.clear()
    assert main(["bench", "bench.toml", "-o", "out"]) == 1
    assert "extract" in verbs


@pytest.mark.parametrize("how", [KeyboardInterrupt(), EmbedkitError("planted")])
def test_what_was_finished_is_not_done_again(how, features, tmp_path, ran, capsys):
    verbs, stop_at = ran
    command = [
        "bench",
        "--feature-files",
        str(features[0]),
        "--probes",
        "knn --n-neighbors 3",
        "--no-reports",
    ]
    command += ["-o", str(tmp_path / "out")]
    stop_at["probe", 1] = how
    assert main(command) == (130 if isinstance(how, KeyboardInterrupt) else 1)
    assert verbs[:2] == ["cluster", "probe"]
    said = capsys.readouterr().err
    if isinstance(how, EmbedkitError):
        assert re.search(r"1 failed, each with its reason above:\n  embedkit probe .*one.h5", said)
    verbs.clear()
    stop_at.clear()
    assert main(command) == 0
    assert verbs[0] == "probe"
    assert "cluster" not in verbs
    assert "1 were finished before" in capsys.readouterr().err
    verbs.clear()
    assert main(command) == 0
    assert set(verbs) == {"leaderboard"}
    assert len(read_results(tmp_path / "out" / "results.jsonl")) == 2


def test_other_features_or_missing_results_are_measured_again(features, tmp_path, ran):
    verbs, _ = ran
    command = ["bench", "--feature-files", str(features[0]), "--probes", "none", "--no-reports"]
    command += ["-o", str(tmp_path / "out")]
    assert main(command) == 0
    features[1].replace(features[0])
    assert main(command) == 0
    assert verbs.count("cluster") == 2
    (tmp_path / "out" / "results.jsonl").unlink()
    assert main(command) == 0
    assert verbs.count("cluster") == 3


def test_a_report_is_made_again_when_results_were_added(features, tmp_path, ran):
    verbs, stop_at = ran
    command = ["bench", "--feature-files", str(features[0]), "--probes", "none", "-o", str(tmp_path / "out")]
    stop_at["report", 1] = EmbedkitError("planted")  # a map takes seconds, and is tested elsewhere
    assert main(command) == 1
    inputs = [file_sha256(features[0])]
    page = tmp_path / "out" / "one.html"
    page.touch()
    step = Step.make("report", features[0], runs=tmp_path / "out", output=page)
    Journal(tmp_path / "out").add(
        step.command, [*inputs, file_sha256(tmp_path / "out" / "results.jsonl")], [page.name]
    )
    assert main(command) == 0
    assert verbs.count("report") == 1
    stop_at["report", 2] = EmbedkitError("planted")
    assert main([*command, "--seeds", "2"]) == 1
    assert verbs.count("report") == 2


def test_a_backbone_that_fails_stops_no_other(tmp_path, capsys):
    text = SMALL.replace('weights = "trained.safetensors"', "random_init = 1").replace(
        "[[backbones]]", '[[backbones]]\nname = "no_such_model"\n[[backbones]]', 1
    )
    (tmp_path / "bench.toml").write_text("controls = false\n" + text)
    command = ["bench", str(tmp_path / "bench.toml"), "-o", str(tmp_path / "out"), "--json"]
    assert main(command) == 1
    said = capsys.readouterr()
    (failed,) = json.loads(said.out)["failed"]
    assert failed[0] == "extract"
    assert "no_such_model" in failed
    assert len(read_results(tmp_path / "out" / "results.jsonl")) == 2


def test_view_whitening_only_where_there_are_views(features, tmp_path, capsys):
    plan = make_plan({"feature_files": [str(path) for path in features], "preps": ["none", "view-whiten"]})
    one, views = sources(plan, tmp_path)
    assert len(measurements(plan, one, tmp_path)) == 3
    assert len(measurements(plan, views, tmp_path)) == 6
    words = ["bench", "--feature-files", *map(str, features), "--preps", "none,view-whiten", "--dry-run"]
    assert main(words) == 0
    assert "view-whiten is left out, for want of views, on one.h5." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("preps", "expected"),
    [
        ("none", [" --prep none", "", ""]),
        ("default,view-whiten", 3 * ["", " --prep view-whiten"]),
        ("default", 3 * [""]),
    ],
)
def test_default_and_none_are_two_preparations(features, preps, expected, capsys):
    assert main(["bench", "--feature-files", str(features[1]), "--preps", preps, "--dry-run"]) == 0
    verbs = ("embedkit cluster", "embedkit probe")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(verbs)]
    assert ["".join(re.findall(" --prep [a-z-]+", line)) for line in lines] == expected


def test_dry_run_prints_commands_and_makes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--n", "40", "--backbones", "test_vit,pixels:8", "--views", "d4", "--probes", "linear"]
    flags += ["--clusterings", "kmeans -k 5", "--seeds", "2", "--split", "kfold:3", "--no-controls"]
    assert main(["bench", "simulated", *flags, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "embedkit extract simulated --n 40 --backbone test_vit --views d4 "
        "-o runs/bench/features/test_vit-views-d4.h5"
    )
    assert (
        "embedkit probe runs/bench/features/pixels-8-views-d4.h5 --split kfold:3 --seed 1 -o runs/bench"
        in lines
    )
    assert [line.split()[1] for line in lines] == (
        2 * ["extract"] + 2 * (2 * ["cluster"] + 2 * ["probe"]) + 2 * ["report"] + 3 * ["leaderboard"]
    )
    assert list(tmp_path.iterdir()) == []


def test_the_files_on_the_page_are_plans():
    docs = Path(__file__).parents[3] / "docs"
    pages = (docs / "reference" / "bench-file.md", docs / "results" / "two-backbones-on-two-datasets.md")
    read = "".join(page.read_text(encoding="utf-8") for page in pages)
    texts = re.findall(r"```toml\n(.*?)```", read, flags=re.S)
    plan, tables = (make_plan(tomllib.loads(text)) for text in texts)
    assert (plan.dataset, plan.images) == ("galaxies.csv", {"root": "images", "center_crop": 212})
    assert [backbone.has_views for backbone in plan.backbones] == [True, False]
    assert (len(tables.options.feature_files), tables.options.seeds) == (6, 5)


def test_controls_that_were_asked_for_are_not_made_twice():
    names = ["pixels:32", {"name": "test_vit", "random_init": 0}]
    assert make_plan({"dataset": "simulated", "backbones": names}).control_backbones == ()
    own = {"name": "test_vit", "weights": "w.pth", "layers": 2}
    controls = make_plan({"dataset": "simulated", "backbones": [own]}).control_backbones
    assert controls[1] == Backbone("test_vit", {"layers": 2, "random_init": 0})


def test_paths_of_weights_make_no_name_too_long_for_a_disk():
    weights = [f"/{'far/' * 60}{name}.pth" for name in "ab"]
    names = [Backbone("test_vit", {"weights": path}).file_name for path in weights]
    assert len(set(names)) == 2
    assert max(map(len, names)) < 200


def test_a_word_names_a_backbone_with_its_weights(tmp_path):
    (tmp_path / "mine.safetensors").touch()
    words = ["test_vit", f"test_vit={tmp_path}/mine.safetensors", "local-dir:a=b"]
    plan = make_plan({"dataset": "simulated", "backbones": words})
    assert [one.name for one in plan.backbones] == ["test_vit", "test_vit", "local-dir:a=b"]
    step = plan.extraction(plan.backbones[1], tmp_path / "f.h5")
    assert ("--weights", f"{tmp_path}/mine.safetensors") in zip(step.command, step.command[1:], strict=False)
    assert re.fullmatch(r"test_vit-mine-[0-9a-f]{4}\.h5", plan.backbones[1].file_name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulated --backbones resnet51", "unknown backbone 'resnet51'. Close: resnet"),
        ("simulated --backbones test_vit=nowhere.pth", "nowhere.pth: no such file"),
        ("nofolder --backbones pixels:4", "nofolder: no such file or folder"),
        ("simulated --backbones pixels:4 --split kfold:1", "kfold:1: at least 2 folds are needed"),
        ("simulated --backbones =w.pth", "give NAME, or NAME=FILE"),
    ],
)
def test_a_dry_run_refuses_what_extract_would(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words.split(), "--dry-run"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("layers = '99'", "--layers 99: test_vit has"),
        ("pool = 'cls'\nname = 'test_efficientnet'", "--pool cls: test_efficientnet has no CLS token"),
        ("image_size = 5", "test_vit"),
    ],
)
def test_a_dry_run_refuses_what_the_network_does_not_have(option, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "" if "name" in option else "name = 'test_vit'\n"
    Path("b.toml").write_text(f"dataset = 'simulated'\n[[backbones]]\n{name}random_init = 0\n{option}\n")
    assert main(["bench", "b.toml", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "So `embedkit extract simulated" in said


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"feature_files": ["a.h5"], "probs": []}, "the bench knows no 'probs'. Known: dataset, .*backbones"),
        ({"dataset": {"source": "x", "rot": 1}}, r"\[dataset\] knows no 'rot'. Did you mean 'root'\?"),
        ({"dataset": "x", "backbones": [{"name": "a", "width": 1}]}, r"\[\[backbones\]\] 1 knows no 'width'"),
        ({"dataset": "x", "backbones": [{"views": "d4"}]}, r"\[\[backbones\]\] 1 has no name"),
        ({"dataset": "x", "backbones": ["a", "a"]}, r"two backbones that are the same \(a.h5\)"),
        ({"dataset": {"source": "x", "backbone": "a"}}, r"\[dataset\]: backbone has no meaning in a bench"),
        (
            {"dataset": "x", "backbones": [{"name": "a", "dry_run": True}]},
            "dry_run has no meaning in a bench",
        ),
        ({"dataset": "x", "backbones": [{"name": "a", "shard": "0/2"}]}, "shard has no meaning in a bench"),
        ({"dataset": 3}, "dataset = 3: give one word, or a table"),
        ({"dataset": ["x"]}, r"dataset = \['x'\]: give one word, or a table"),
        ({"dataset": {"n": 5}}, r"\[dataset\] has no source"),
        ({"backbones": ["a"], "feature_files": ["a.h5"]}, "backbones without a dataset"),
        ({}, "nothing to bench"),
        ({"feature_files": "a.h5"}, "feature_files = 'a.h5': give a list"),
        ({"feature_files": ["a.h5"], "seeds": [0, 1]}, "give their number, as in seeds = 5"),
        ({"feature_files": ["a.h5"], "controls": 1}, "give true or false"),
        ({"feature_files": ["a.h5"], "probes": ["knn '"]}, "can't be split into words"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_by_name(document, message):
    with pytest.raises(UsageError, match=message):
        make_plan(document)


def test_mistakes_are_found_before_anything_is_computed(features, tmp_path, capsys):
    one = ["bench", "--feature-files", str(features[0]), "-o", str(tmp_path / "out")]
    toml = tmp_path / "b.toml"
    toml.write_text("probes = [")
    for words, code, message in [
        ([*one, "--probes", "lineer"], 2, "lineer"),
        ([*one, "--preps", "polish"], 2, "polish"),
        (
            [*one, "--probes", "knn --seed 4"],
            2,
            "probe knn --seed 4: the seed is the bench's own; give it there",
        ),
        ([*one, "--probes", "knn -o x"], 2, "the folder is the bench's own"),
        ([*one, "--clusterings", "kmeans --apply m.h5"], 2, "a bench fits every method"),
        ([*one, "--root", "x"], 2, "root without a dataset"),
        (["bench", "--feature-files", "nowhere.h5"], 1, "nowhere.h5"),
        (["bench", str(toml)], 1, "b.toml: not a TOML file"),
        (["bench", str(toml), "--probes", "knn"], 2, "write probes there, not as a flag"),
        (["bench", "nowhere.toml"], 1, "nowhere.toml: no such file"),
    ]:
        assert main(words) == code, words
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bench.json").write_text("[]")
    assert main(one) == 1
    assert "bench.json: no journal of a bench" in capsys.readouterr().err


def test_every_file_is_hashed_and_opened_once_and_results_are_read_once(features, tmp_path, monkeypatch):
    opened, hashed, parsed, ranked = Counter(), Counter(), [], []
    watch(monkeypatch, FeatureFile, "__init__", lambda self, path: opened.update([Path(path).name]))
    for module in (store, bench_run):
        watch(monkeypatch, module, "file_sha256", lambda path: hashed.update([Path(path).name]))
    watch(monkeypatch, Result, "from_json", parsed.append)
    watch(monkeypatch, table, "rank", lambda *_, **__: ranked.append(1))
    watch(monkeypatch, calls, "rank", lambda *_, **__: ranked.append(1))
    options = {
        "probes": ["linear", "knn", "nearest-centroid"],
        "clusterings": ["kmeans", "agglomerative", "gmm"],
    }
    found = embedkit.bench(None, feature_files=features, output=tmp_path / "out", **options)
    assert not found.failed
    assert len(found.results) == 12
    assert opened == {"one.h5": 1, "views.h5": 1}
    assert {hashed[path.name] for path in features} == {1}
    assert (parsed, len(ranked)) == ([], 1)
    assert embedkit.bench(None, feature_files=features, output=tmp_path / "out", **options).n_before == 14
    assert len(parsed) == 12


def watch(monkeypatch, owner, name, seen):
    """Call `seen` before what it watches."""
    real = getattr(owner, name)

    def watched(*args, **kwargs):
        seen(*args, **kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, watched)


def test_a_table_and_words_of_a_method_are_the_same_step(features):
    texts = {"probes": ["knn --n-neighbors 3 5"], "clusterings": ["kmeans -k 4"]}
    tables = {"probes": [{"kind": "knn", "n_neighbors": [3, 5]}], "clusterings": [{"k": 4}]}
    of_texts, of_tables = (
        [
            step.command
            for step in make_plan({"feature_files": ["a.h5"], **one}).measures(Path("a.h5"), Path("o"))
        ]
        for one in (texts, tables)
    )
    assert of_texts == of_tables
    words = ["--n-neighbors", "3", "5", "--kind", "knn", "-o", "o"]
    assert sorted(of_texts[1]) == sorted(["probe", "a.h5", *words])
    with pytest.raises(UsageError, match="knows no 'n_neigbors'. Did you mean 'n_neighbors'"):
        list(
            make_plan({"feature_files": ["a.h5"], "probes": [{"n_neigbors": 3}]}).measures(
                Path("a"), Path("o")
            )
        )


def test_from_python_it_shows_the_board_and_plans_without_doing(features, tmp_path):
    planned = embedkit.bench(feature_files=features[:1], output=tmp_path / "out", dry_run=True)
    assert [step[0] for step in planned.steps] == [
        "cluster",
        "probe",
        "probe",
        "report",
        *3 * ["leaderboard"],
    ]
    assert (planned.board, list(tmp_path.glob("out"))) == (None, [])
    found = embedkit.bench(
        None, feature_files=features[:1], probes="none", reports=False, output=tmp_path / "out"
    )
    assert "kmeans" in found._repr_html_()
    assert list(found.to_pandas()["method"]) == ["kmeans"]


def test_without_labels_probes_are_left_out_and_clusterings_done(features, tmp_path, capsys):
    path = write_features(
        tmp_path / "bare.h5", FeatureFile(features[0]).read(), Rows([f"{i}" for i in range(60)])
    )
    found = embedkit.bench(
        None, feature_files=[path], clusterings="kmeans -k 2", reports=False, output=tmp_path
    )
    assert not found.failed
    assert [result.task for result in found.results] == ["cluster"]
    assert capsys.readouterr().err.count("Left out: no labels stored.") == 2
    found = embedkit.bench(
        None, feature_files=[path], clusterings="kmeans,hdbscan", reports=False, output=tmp_path / "2"
    )
    assert not found.failed
    kmeans, _ = found.results
    assert (kmeans.params["k"], kmeans.outcomes["k_choice"]["k"] >= 2) == ("auto", True)


def test_a_bench_killed_between_a_line_and_its_journal_adds_no_second_line(features, tmp_path):
    import json

    out = tmp_path / "out"
    words = ["bench", "--feature-files", str(features[0]), "--probes", "knn", "--seeds", "2", "--no-reports"]
    assert main([*words, "-o", str(out)]) == 0
    lines = (out / "results.jsonl").read_bytes()
    board = (out / "leaderboard.json").read_bytes()
    journal = json.loads((out / "bench.json").read_text())
    last = journal["steps"].pop()
    del last["made"]
    journal["begun"] = [last | {"since": lines.rindex(b"\n", 0, -1) + 1}]
    (out / "bench.json").write_text(json.dumps(journal))
    assert main([*words, "-o", str(out)]) == 0
    assert (out / "results.jsonl").read_bytes() == lines
    assert (out / "leaderboard.json").read_bytes() == board
    assert json.loads((out / "bench.json").read_text())["begun"] == []


def test_features_of_other_options_are_named_with_what_a_bench_can_do(tmp_path, capsys):
    words = "simulated --n 6 --backbones pixels:4 --no-controls --probes none --clusterings none --no-reports"
    bench = ["bench", *words.split(), "-o", str(tmp_path)]
    assert main(bench) == 0
    assert main([*bench, "--limit", "3"]) == 1
    said = capsys.readouterr().err
    assert "dataset n: 6 there, 3 asked for" in said
    assert "A bench has no --overwrite: run this step with it, or give the bench another -o." in said
