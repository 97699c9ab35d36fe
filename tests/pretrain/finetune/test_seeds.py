"""Seeds in a row: the last one is one too, and several don't share a folder with one."""

import pytest

from clustering.options import ClusterOptions
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.options import MOST_SEED, check_seeds
from embedkit.workflows.bench_options import BenchOptions
from pretrain.finetune.calls import OF_ONE_SEED
from pretrain.finetune.options import FinetuneCall
from pretrain.over_seeds import check_alone


@pytest.mark.parametrize("options", [FinetuneCall, ClusterOptions, BenchOptions])
def test_the_last_of_the_seeds_is_one(options):
    options(seed=MOST_SEED)
    options(seed=MOST_SEED - 1, seeds=2)
    with pytest.raises(UsageError) as error:
        options(seed=MOST_SEED, seeds=2)
    assert str(error.value) == (
        "--seed 4294967295 with --seeds 2: the last would be 4,294,967,296, above 4,294,967,295. Give --seed "
        "4294967294 or less."
    )


def test_the_command_says_what_was_given(tmp_path, capsys):
    assert main(["finetune", "x", "--seed", "4294967295", "--seeds", "2", "-o", str(tmp_path / "x")]) == 2
    assert "--seed 4294967295 with --seeds 2" in capsys.readouterr().err
    check_seeds(MOST_SEED, 1)


def test_several_seeds_and_one_do_not_share_a_folder(tmp_path):
    check_alone(tmp_path / "none", 2, OF_ONE_SEED)
    for name in ("model", "phase-1", "fold-1"):
        folder = tmp_path / name
        (folder / name).mkdir(parents=True)
        check_alone(folder, 1, OF_ONE_SEED)
        with pytest.raises(UsageError, match=rf"holds the run of one seed \({name}\). Give another -o"):
            check_alone(folder, 2, OF_ONE_SEED)
    folder = tmp_path / "several"
    (folder / "seed-0").mkdir(parents=True)
    check_alone(folder, 3, OF_ONE_SEED)
    with pytest.raises(UsageError, match=r"holds runs of several seeds \(seed-0\)"):
        check_alone(folder, 1, OF_ONE_SEED)
