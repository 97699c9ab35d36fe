"""The page: what is on it, what stands beside it, what is refused, and how it looks in a real browser."""

import csv
import json
import re

import numpy as np
import pytest
from browsing import looked_at
from PIL import Image
from votes_world import N_TRAIN, NAMES, write_predictions, write_votes

import embedkit
from embedkit import EmbedkitError, UsageError
from embedkit.cli import main
from embedkit.files.vote_tree import GALAXY_ZOO_2
from reports.votes.numbers import noise_floor, rmse

OF_DATA = ["distributions", "prototypes", "correlations", "split", "baseline", "pixels"]
OF_MODELS = ["models", "answers", "reliability", "extremes", "threshold"]


def sections_of(path):
    return re.findall(r'<section id="([^"]*)"', path.read_text())


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def log(gz):
    path = gz.folder / "log.csv"
    path.write_text("epoch,images,loss,validation_loss\n1,100,0.2,0.25\n2,200,0.1,0.2\n3,300,0.05,0.22\n")
    return path


@pytest.fixture(scope="module")
def page(gz, log, tmp_path_factory):
    return embedkit.votes(
        gz.table,
        **gz.options,
        predictions=[f"knows <b>all</b>={gz.good}", str(gz.poor)],
        log=[f"cnn={log}"],
        merger_of=gz.unlabelled,
        merger_share=0.2,
        kaggle=gz.folder / "out" / "submission.csv",
        output=gz.folder / "out" / "votes.html",
    )


def test_the_dataset_alone_makes_a_page(tmp_path):
    found = embedkit.votes("simulated", votes=True, n=40, size=32, output=tmp_path / "v.html")
    assert sections_of(found.path) == OF_DATA
    assert (found.n, found.n_targets, found.tree) == (40, 37, "Galaxy Zoo 2")
    text = found.path.read_text()
    assert "These votes are simulated, so the floor is known" in text
    for answer in GALAXY_ZOO_2.answers:
        assert answer.name in text
    assert sorted(found.tables) == ["baseline", "correlations", "distributions", "prototypes", "split"]
    assert all(path.parent == tmp_path and path.name.startswith("v-") for path in found.tables.values())


def test_everything_that_is_given_has_its_section(page):
    assert sections_of(page.path) == [*OF_DATA, *OF_MODELS, "losses", "mergers"]
    text = page.path.read_text()
    assert "&lt;b&gt;all&lt;/b&gt;" in text
    assert "<b>" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#|votes-)', text)
    assert "A fraction is not a rate" in text


def test_the_tables_hold_what_numpy_says(gz, page):
    shares = gz.votes.shares
    for j, row in enumerate(rows_of(page.tables["distributions"])):
        assert (row["target"], row["name"]) == (NAMES[j], GALAXY_ZOO_2.answers[j].name)
        assert float(row["mean"]) == pytest.approx(shares[:, j].mean(), rel=1e-4)
        assert float(row["sd"]) == pytest.approx(shares[:, j].std(ddof=1), rel=1e-4)
        assert float(row["median"]) == pytest.approx(np.median(shares[:, j]), rel=1e-4)
        assert float(row["share_of_zeros"]) == pytest.approx((shares[:, j] == 0).mean(), rel=1e-4)
    for j, row in enumerate(rows_of(page.tables["prototypes"])):
        assert row["id"] == gz.ids[int(shares[:, j].argmax())]
    for row in rows_of(page.tables["models"]):
        j = NAMES.index(row["target"])
        if row["model"] == "knows <b>all</b>":
            assert float(row["rmse"]) == pytest.approx(
                rmse(shares[N_TRAIN:, j], gz.predicted[:, j]), rel=1e-3, abs=1e-6
            )
        assert float(row["floor"]) == pytest.approx(noise_floor(shares[N_TRAIN:, [j]], 40), rel=1e-4)
    extremes = [
        row["id"]
        for row in rows_of(page.tables["extremes"])
        if (row["answer"], row["model"], row["by"]) == ("edge-on", "knows <b>all</b>", "prediction")
    ]
    order = np.argsort(-gz.predicted[:, NAMES.index("Class2.1")], kind="stable")[:5]
    assert extremes == [gz.ids[N_TRAIN + i] for i in order]


def test_the_call_returns_the_figures_that_all_is_read_against(gz, page):
    split = rows_of(page.tables["split"])
    assert len(split) == 37
    assert page.floor == pytest.approx(noise_floor(gz.votes.shares, 40), rel=1e-5)
    assert page.rmse["knows <b>all</b>"] < page.mean_rmse_validation
    assert "&lt;b&gt;" in page._repr_html_()
    assert "the floor is" in repr(page)


def test_the_submission_is_of_the_unlabelled_set(gz, page):
    header, *lines = page.kaggle.read_text().splitlines()
    assert header.split(",") == ["GalaxyID", *NAMES]
    assert [line.split(",")[0] for line in lines] == ["7", "30", "200"]
    assert float(lines[2].split(",")[1]) == pytest.approx(gz.predicted[2, 0], rel=1e-5)


def test_the_command_is_the_function(gz, tmp_path, capsys):
    line = [str(gz.table), "--root", str(gz.folder), "--target-columns", ",".join(NAMES)]
    line += [
        "--predictions",
        str(gz.good),
        "--predictions",
        str(gz.poor),
        "--kaggle",
        str(tmp_path / "s.csv"),
    ]
    assert main(["votes", *line]) == 2
    assert "a submission is of one model, but --predictions gives 2" in capsys.readouterr().err
    out = tmp_path / "v.html"
    assert main(["votes", *line[:-2], "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(out)
    assert list(said["rmse"]) == ["good", "poor"]
    found = embedkit.votes(gz.table, **gz.options, predictions=[gz.good, gz.poor], output=tmp_path / "w.html")
    assert said["rmse"] == found.rmse
    for name, path in found.tables.items():
        assert path.read_text() == (tmp_path / f"v-{name}.csv").read_text()


@pytest.fixture
def pictures(tmp_path):
    def write(n):
        rng = np.random.default_rng(0)
        names = [f"{i}.png" for i in range(n)]
        for name in names:
            Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(tmp_path / name)
        return names

    return write


def test_targets_that_are_no_votes_keep_their_own_names(pictures, tmp_path):
    ids, rng = pictures(20), np.random.default_rng(0)
    values = rng.normal(50, 20, (20, 2))
    values[3, 1] = np.nan
    table = write_votes(tmp_path / "t.csv", ids, values, ("mass <i>", "z"))
    table.write_text(table.read_text().replace("nan", ""))
    path = write_predictions(tmp_path / "p.csv", ids[4:], values[4:], values[4:] + 1, ("mass <i>", "z"))
    how = {"target_columns": ("mass <i>", "z"), "output": tmp_path / "v.html"}
    found = embedkit.votes(table, **how, predictions=[path])
    assert sections_of(found.path) == [*OF_DATA, *OF_MODELS[:-1]]
    assert (found.tree, found.floor) == ("", None)
    assert found.rmse["p"] == pytest.approx(1, abs=1e-4)
    text = found.path.read_text()
    assert "mass &lt;i&gt;" in text
    assert "<i>" not in text
    assert "implied by the tree" not in text
    with pytest.raises(UsageError, match="--kaggle: the challenge takes the 37 answers"):
        embedkit.votes(table, **how, predictions=[path], kaggle=tmp_path / "s.csv")
    with pytest.raises(UsageError, match="has no answer that says merger"):
        embedkit.votes(table, **how, predictions=[path], merger_of=path)
    assert not (tmp_path / "s.csv").exists()


def test_what_can_t_be_studied_is_named(gz, log, pictures, tmp_path):
    ids = pictures(3)
    with pytest.raises(EmbedkitError, match="no targets, such as shares of votes"):
        embedkit.votes(tmp_path, output=tmp_path / "v.html")
    shares = gz.votes.shares[:3].copy()
    shares[1, 0] += 0.5
    table = write_votes(tmp_path / "t.csv", ids, shares)
    with pytest.raises(EmbedkitError, match=r"'1.png'.*(?:sum to|a share of votes lies)"):
        embedkit.votes(table, target_columns=NAMES)
    one = write_votes(tmp_path / "one.csv", ids[:1], gz.votes.shares[:1])
    with pytest.raises(EmbedkitError, match="1 row, of which nothing can be split"):
        embedkit.votes(one, target_columns=NAMES)
    with pytest.raises(UsageError, match=r"Give that model's --predictions too"):
        embedkit.votes(gz.table, **gz.options, merger_of=gz.unlabelled)
    before = log.read_text()
    with pytest.raises(UsageError, match=r"--kaggle .*log.csv is the file that is read"):
        embedkit.votes(gz.table, **gz.options, log=[f"a={log}"], predictions=[str(gz.good)], kaggle=log)
    with pytest.raises(UsageError, match="a table of predicted targets is there"):
        embedkit.votes(gz.table, **gz.options, predictions=[f"a={gz.good}"], kaggle=gz.good)
    assert log.read_text() == before
    with pytest.raises(UsageError, match="give FILE or NAME=FILE"):
        embedkit.votes(gz.table, **gz.options, log=[" "])


def test_an_image_that_can_t_be_read_is_a_note(pictures, tmp_path):
    ids = pictures(4)
    (tmp_path / "0.png").write_bytes(b"none")
    table = write_votes(tmp_path / "t.csv", ids, np.eye(4)[:, :2], ("a", "b"))
    found = embedkit.votes(table, target_columns=("a", "b"), output=tmp_path / "v.html")
    text = found.path.read_text()
    assert 'class="note"' in text
    assert "no picture" in text


def test_the_challenges_own_three_rows(shared, tmp_path):
    sample = shared / "data" / "gz_kaggle_sample"
    found = embedkit.votes("galaxy-zoo-2", path=str(sample), output=tmp_path / "v.html")
    assert (found.n, found.n_targets) == (3, 37)
    assert sections_of(found.path) == OF_DATA


def test_one_value_that_is_no_share_is_said(tmp_path, capsys):
    random = np.random.default_rng(0)
    lines = ["file,round,barred"]
    for i in range(20):
        Image.fromarray(random.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"{i:02}.png")
        lines.append(f"{i:02}.png,{7 if i == 3 else random.random():.3g},{random.random():.3g}")
    table, out = tmp_path / "table.csv", tmp_path / "out" / "v.html"
    table.write_text("\n".join(lines) + "\n")
    line = ["votes", str(table), "--target-columns", "round,barred", "-o", str(out)]
    assert main(line) == 0
    said = "1 of 40 values lies outside 0 to 1: round of '03.png' is 7."
    assert said in " ".join(capsys.readouterr().err.split())
    assert said.replace("'", "&#x27;") in out.read_text()
    table.write_text("\n".join(lines).replace(",7,", ",0.7,") + "\n")
    assert main(line) == 0
    assert "outside 0 to 1" not in capsys.readouterr().err
    # Measurements, half of which are above 1, are no slips.
    table.write_text("\n".join([lines[0], *(f"{i:02}.png,{i},0.5" for i in range(20))]) + "\n")
    assert main(line) == 0
    assert "outside 0 to 1" not in capsys.readouterr().err


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_nothing_is_asked_for(page, width, scheme):
    with looked_at(page.path, width=width, scheme=scheme) as view:
        ink = "getComputedStyle(document.querySelector('svg.figure text')).fill"
        light = view.evaluate(ink)
        assert light == {"light": "rgb(26, 29, 35)", "dark": "rgb(230, 233, 238)"}[scheme]
        view.click("#theme")
        assert view.evaluate(ink) != light
