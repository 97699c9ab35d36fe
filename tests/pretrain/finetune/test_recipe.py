import tomllib
from dataclasses import fields, is_dataclass

import pytest

from embedkit.backbones.head import HeadSpec
from embedkit.errors import EmbedkitError, UsageError
from embedkit.options import declared
from pretrain.finetune.confidence import Confidence
from pretrain.finetune.phase_options import Trained
from pretrain.finetune.recipe import RECIPES, Phase, Published, Recipe, make_recipe, read_recipe
from pretrain.options import LoRA

SMALL = 'about = "a"\nbackbone = "resnet18"\n[[phase]]\nepochs = 2\n'


def made(text=SMALL, **changes):
    document = {**tomllib.loads(text), **changes}
    return make_recipe(document, "mine.toml")


def test_a_minimal_recipe_has_the_declared_defaults():
    found = made()
    assert found == Recipe(about="a", backbone="resnet18", phases=(Phase(name="phase-1", epochs=2),))
    assert found.head == HeadSpec()
    assert found.plan.sizes(2) == (64, 64)
    assert found.overrides().mean is None


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_are_read_and_say_where_they_come_from(name):
    found = read_recipe(name)
    assert found == read_recipe(RECIPES[name])
    assert found.about
    assert found.source
    assert "#" in RECIPES[name].read_text(encoding="utf-8")  # commented


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bakcbone": "x"}, r"mine.toml knows no 'bakcbone'. Did you mean 'backbone'\?"),
        ({"epochs": 3}, r"knows no 'epochs'. It belongs in \[\[phase\]\]"),
        ({"widths": [3]}, r"It belongs in \[head\]"),
        ({"head": {"width": [3]}}, r"\[head\] knows no 'width'. Did you mean 'widths'"),
        ({"head": {"backbone": "x"}}, r"\[head\] knows no 'backbone'. It belongs in the top"),
        (
            {"head": {"dropout": 1.0}},
            r"mine.toml: \[head\]: dropout 1: give a number of at least 0 and below 1",
        ),
        ({"head": {"batch_norm": True}}, "without widths"),
        ({"head": 3}, "no table"),
        ({"phase": []}, "nothing would train"),
        ({"phase": {"epochs": 1}}, r"\[\[phase\]\]"),
        ({"phase": [3]}, "no table"),
        ({"phase": [{"epoch": 1}]}, r"\[\[phase\]\] 1 knows no 'epoch'. Did you mean 'epochs'"),
        ({"phase": [{"train": "last-blocks:0"}]}, "nothing would train"),
        ({"phase": [{"train": "last-blocks"}]}, "give a number of 1 or more"),
        ({"phase": [{"train": "last-block:3"}]}, "Did you mean 'last-blocks'"),
        ({"phase": [{"train": "none"}]}, "Give one of all, head, lora"),
        ({"phase": [{"lr": 0}]}, "lr 0: give a number above 0"),
        ({"phase": [{"lr": float("nan")}]}, "lr nan"),
        ({"phase": [{"lr": float("inf")}]}, "lr inf"),
        ({"phase": [{"epochs": True}]}, "epochs = True"),
        ({"phase": [{"epochs": 1.5}]}, "epochs = 1.5"),
        ({"phase": [{"schedule": "step"}]}, "step without factor"),
        ({"phase": [{"schedule": "cosine", "factor": 0.3}]}, "factor is of step and plateau"),
        ({"phase": [{"schedule": "constant", "end_lr": 1e-6}]}, "stays at lr"),
        ({"phase": [{"lr": 1e-3, "end_lr": 1.0}]}, "above lr"),
        ({"phase": [{"epochs": 2, "warmup_epochs": 2}]}, "leaves nothing"),
        ({"phase": [{"rows": "0.9-0.8"}]}, "range of label confidence"),
        ({"phase": [{"name": "a"}, {"name": "a"}]}, "two phases named 'a'"),
        ({"batch_plan": "32x5"}, r"\[\[phase\]\] 1: batch_plan '32x5' is for 5 epochs, and the phase has 2"),
        ({"batch_plan": "many"}, "'many' is no size"),
        ({"loss": "rmse"}, "loss rmse with output classes"),
        ({"head": {"output": "sigmoid"}}, "loss cross-entropy with output sigmoid"),
        ({"loss": "bce", "head": {"output": "sigmoid"}, "label_smoothing": 0.1}, "label_smoothing is of"),
        ({"loss": "crossentropy"}, "Did you mean 'cross-entropy'"),
        ({"augmentation": ["flips"]}, "Did you mean 'flip'"),
        ({"resize": 256, "center_crop": 200}, "exclude each other"),
        ({"backbone": " "}, "no backbone"),
        ({"lora": {"lora_rank": 4}}, "without a phase"),
        ({"weights": "random", "phase": [{"train": "lora"}]}, "learn nothing"),
        ({"phase": [{"train": "lora"}], "lora": {"lora_rank": 64, "lora_alpha": 1}}, "hardly move"),
        ({"published": {"accuracy": 76}}, "accuracy 76"),
    ],
)
def test_what_is_wrong_is_named(changes, says):
    with pytest.raises(UsageError, match=says) as found:
        made(**changes)
    assert str(found.value).startswith("mine.toml")


def test_unknown_and_unreadable_recipes_are_refused(tmp_path):
    with pytest.raises(UsageError, match="unknown recipe 'vgg11-shalow'. Did you mean 'vgg11-shallow'"):
        read_recipe("vgg11-shalow")
    with pytest.raises(EmbedkitError, match=r"gone.toml: no such file"):
        read_recipe(tmp_path / "gone.toml")
    with pytest.raises(EmbedkitError, match="folder"):
        read_recipe(tmp_path)
    broken = tmp_path / "broken.toml"
    for content in (b"a = ", b"\xff\xfe", b"x = " + b"[" * 50_000):
        broken.write_bytes(content)
        with pytest.raises(EmbedkitError, match=r"broken.toml: not a TOML file"):
            read_recipe(broken)


def test_half_takes_pixels_to_minus_one_and_one():
    assert made(mean_std="half").overrides().mean == (0.5, 0.5, 0.5) == made(mean_std="half").overrides().std


def test_every_key_is_declared():
    for cls in (Recipe, Phase, HeadSpec, Published, LoRA):
        plain = {one.name for one in fields(cls) if one.name not in declared(cls)}
        assert plain == ({"published", "head", "lora", "phases"} if cls is Recipe else set())
        assert is_dataclass(cls)
        for name, one in declared(cls).items():
            assert cls is LoRA or one.flag == name


def test_stages_of_a_curriculum_share_out_all_rows():
    import numpy as np

    values = np.array([0.0, 0.84, 0.85, 0.9, 0.94, 0.95, 1.0, np.nan])
    stages = [Confidence.parse(text).of(values) for text in (">0.94", "0.85-0.94", "<0.85")]
    assert sum(stage.astype(int) for stage in stages).tolist() == [1] * 7 + [0]
    assert stages[1].tolist() == [False, False, True, True, True, False, False, False]
    assert Confidence.parse("all").of(values[:-1]).all()
    for text in ("", "0.9", ">1", "<0", "> 2", "0.9-", "1.5-2", "⁴-⁵"):
        with pytest.raises(ValueError, match="range of label confidence"):
            Confidence.parse(text)


def test_parts_of_a_network():
    assert Trained.parse("last-convs:70") == Trained("last-convs", 70)
    assert Trained.parse("all") == Trained("all")
    for text in ("last-convs:-1", "last-convs:٣", "last-convs: 3", "last-convs:1e3"):
        with pytest.raises(ValueError, match="give a number"):
            Trained.parse(text)


def test_the_systems_of_the_reports_are_there():
    assert set(RECIPES) >= {
        *(
            "vgg-scratch",
            "vgg11-shallow",
            "vgg11-deep",
            "custom-cnn",
            "resnet50-frozen",
            "densenet121-two-stage",
        ),
        *("efficientnet-b0-two-phase", "convnext-small", "convnext-small-curriculum", "resnet18-votes"),
        *("own-cnn-votes", "dino-vits16-finetune", "dino-vits16-lora"),
    }


def test_recipes_say_what_the_reports_say():
    for name in ("vgg-scratch", "vgg11-shallow", "vgg11-deep", "custom-cnn"):
        s1 = read_recipe(name)
        (phase,) = s1.phases
        assert (s1.optimiser, s1.batch_plan, s1.augmentation) == ("adamw", "64", ())
        assert (phase.schedule, phase.lr, phase.end_lr, phase.epochs) == ("cosine", 5e-4, 1e-6, 100)
    for name in ("resnet50-frozen", "densenet121-two-stage"):
        s2 = read_recipe(name)
        assert (s2.optimiser, s2.weight_decay, s2.mean_std) == ("adam", 1e-4, "half")
        assert (s2.image_size, s2.resize) == (224, 256)
        assert s2.head.widths == (256, 128, 64)
        assert s2.head.dropout > 0
        for phase in s2.phases:
            assert (phase.lr, phase.schedule, phase.factor, phase.every) == (1e-3, "step", 0.3, 3)
            assert phase.stop_after == 3
    assert [phase.train for phase in read_recipe("densenet121-two-stage").phases] == ["head", "last-convs:70"]
    s3 = read_recipe("efficientnet-b0-two-phase").phases
    assert [(p.train, p.epochs, p.lr) for p in s3] == [("head", 10, 1e-3), ("last-blocks:3", 5, 1e-4)]
    s4 = read_recipe("convnext-small")
    assert (s4.weight_decay, s4.batch_plan) == (1e-4, "512")
    (phase,) = s4.phases
    assert (phase.train, phase.lr, phase.head_lr, phase.epochs) == ("last-stages:2", 1e-4, 5e-4, 20)
    stages = read_recipe("convnext-small-curriculum").phases
    assert [stage.rows for stage in stages] == [">0.94", "0.85-0.94", "<0.85"]
    assert read_recipe("vgg-scratch").head.init_std ** 2 == pytest.approx(1e-2)
    assert read_recipe("own-cnn-votes").published.rmse == 0.11


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_name_networks_that_are_there(name):
    from embedkit.backbones.naming import check_name, is_published

    found = read_recipe(name)
    check_name(found.backbone)
    assert (found.weights == "published") == is_published(found.backbone)
    assert (found.lora is not None) == any(phase.train == "lora" for phase in found.phases)


def test_each_shipped_recipe_is_in_the_package_data():
    from pathlib import Path

    text = Path(__file__).parents[3].joinpath("pyproject.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)["tool"]["setuptools"]["package-data"]
    assert data["pretrain.finetune"] == ["recipes/*.toml"]
