import json
import re
from pathlib import Path

from rich.console import Console

import embedkit
from embedkit.cli import main
from embedkit.options import declared
from pretrain.finetune.recipe import RECIPES, TABLES, Recipe, read_recipe

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "recipes.md"


def test_the_list_says_what_trains_and_what_was_published(capsys):
    assert main(["recipes", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(found) == set(RECIPES)
    assert found["densenet121-two-stage"]["trains"] == "head, then last-convs:70"
    assert found["convnext-small-curriculum"]["trains"] == "last-stages:2 (3 phases)"
    assert found["vgg-scratch"]["trains"] == "random weights: all"
    assert found["custom-cnn"]["published"] == "accuracy 0.76, ROC AUC 0.929; Galaxy10 DECaLS, 17,736 images"
    assert main(["recipes"]) == 0
    out, err = capsys.readouterr()
    assert all(name in out for name in RECIPES)
    assert "> mine.toml" in err


def test_a_recipe_is_printed_as_it_is_and_read_back(tmp_path, capsys):
    for name, path in RECIPES.items():
        assert main(["recipes", name]) == 0
        out, err = capsys.readouterr()
        assert out == path.read_text(encoding="utf-8")
        assert err == ""
        mine = tmp_path / "mine.toml"
        mine.write_text(out, encoding="utf-8")
        assert read_recipe(mine) == read_recipe(name)
    mine.write_text(out.replace("epochs", "epoch", 1), encoding="utf-8")
    assert main(["recipes", str(mine)]) == 2
    said = capsys.readouterr().err
    assert "mine.toml" in said
    assert "Did you mean 'epochs'?" in said


def test_in_python():
    assert len(embedkit.recipes()) == len(RECIPES)
    (one,) = embedkit.recipes("vgg11-deep")
    assert one.backbone == "vgg11"
    assert one.toml == RECIPES["vgg11-deep"].read_text(encoding="utf-8")
    assert list(embedkit.recipes().to_pandas()["name"]) == list(RECIPES)
    assert "vgg11-deep" in repr(embedkit.recipes())
    assert "<table>" in embedkit.recipes()._repr_html_()


def test_the_page_has_every_key_with_its_default():
    text = PAGE.read_text(encoding="utf-8")
    for heading, cls in {"At the top": Recipe, **TABLES}.items():
        found = re.search(rf"^## `?\[*{heading}\]*`?\n(.*?)(?=^## )", text, flags=re.M | re.S)
        rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]*) \| [^|]+ \|$", found[1], flags=re.M)
        assert [name for name, _ in rows] == list(declared(cls)), heading
        for name, default in rows:
            value = declared(cls)[name].value
            if value is None:
                assert default == declared(cls)[name].option.unset
            else:
                read = json.loads(default.strip("`"))
                assert (tuple(read) if isinstance(read, list) else read) == value
    for name in RECIPES:
        assert f"| {name} |" in text


def test_in_a_narrow_terminal_names_stay_whole(monkeypatch, capsys):
    monkeypatch.setattr("embedkit.console._stdout", lambda: Console(width=80))
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in RECIPES:
        assert any(name in line.split() for line in lines)
