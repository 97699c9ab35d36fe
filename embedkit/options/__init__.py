"""An option is declared once, as a field of a dataclass; flags, keywords, TOML keys and pages come from it.

A verb's options are frozen dataclasses whose fields are made by `option`. `add_flags` gives a parser their
flags, `from_flags` and `from_mapping` read them back, `as_words` writes the command that they stand for, and
`keywords` makes of a function that takes such dataclasses one that takes their fields as keywords.
"""

from embedkit.options.declaring import (
    Declared,
    as_in,
    asked,
    check,
    declared,
    flag_of,
    from_mapping,
    instances,
    nearest,
    option,
    typed,
)
from embedkit.options.flags import add_flags, add_json_flag, as_words, from_flags, help_text
from embedkit.options.keywords import by_keywords, keywords
from embedkit.options.places import READS, RESULTS, Reads, Writes
from embedkit.options.selection import SELECTION, Selection
from embedkit.options.shared import (
    DEVICES,
    FOLDER,
    MOST_SEED,
    PREP,
    RUNS,
    SPLITS,
    batch_size_option,
    check_seeds,
    check_split,
    device_option,
    dry_run_option,
    labels_option,
    limit_option,
    output_option,
    path_option,
    prep_option,
    seed_option,
    seeds_option,
    split_option,
)

__all__ = [
    "DEVICES",
    "Declared",
    "FOLDER",
    "MOST_SEED",
    "PREP",
    "READS",
    "RESULTS",
    "RUNS",
    "Reads",
    "SELECTION",
    "SPLITS",
    "Selection",
    "Writes",
    "add_flags",
    "add_json_flag",
    "as_in",
    "as_words",
    "asked",
    "batch_size_option",
    "by_keywords",
    "check",
    "check_seeds",
    "check_split",
    "declared",
    "device_option",
    "dry_run_option",
    "flag_of",
    "from_flags",
    "from_mapping",
    "instances",
    "help_text",
    "keywords",
    "labels_option",
    "limit_option",
    "nearest",
    "option",
    "output_option",
    "path_option",
    "prep_option",
    "seed_option",
    "seeds_option",
    "split_option",
    "typed",
]
