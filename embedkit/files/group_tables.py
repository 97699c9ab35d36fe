"""The tables of groups: those that people name, what the names make of all images, and groups of density."""

from embedkit.files.columns import INTEGER, NUMBER, TEXT, Column, TableKind

GROUPS = TableKind(
    "groups to name",
    "embedkit name",
    (
        Column("group", INTEGER, "number of the group; those in neighbouring lines are alike"),
        Column("name", TEXT, "what its images are called; empty where nobody named it", empty=True),
        Column("rows", INTEGER, "how many images are in it", optional=True),
        Column(
            "spread",
            NUMBER,
            "root mean square distance of its rows to their mean, over that of all rows to theirs: "
            "the less, the tighter",
            optional=True,
        ),
        Column(
            "separation",
            NUMBER,
            "how far apart the two kinds are that it may be of: Ashman's D; 0 where there is one, "
            "empty of fewer than 30 rows",
            optional=True,
            empty=True,
        ),
        Column("mixed", TEXT, "`yes` where the separation is above 2, else empty", optional=True, empty=True),
        Column(
            "central",
            TEXT,
            "ids of the nine images nearest to its centre, `central:1` the nearest; empty where there are "
            "fewer",
            optional=True,
            repeated=True,
            empty=True,
        ),
    ),
    key=("group",),
)
NAMED = TableKind(
    "labels by groups' names",
    "embedkit name",
    (
        Column("id", TEXT, "the row's id in the feature file"),
        Column(
            "label",
            TEXT,
            "the name of its group; empty where that has none, or the row no group",
            empty=True,
        ),
        Column(
            "confidence",
            NUMBER,
            "how much it belongs to the groups of that name, from 0 to 1; empty where there is no label",
            empty=True,
        ),
        Column("group", INTEGER, "number of its group; -1 is none"),
    ),
    key=("id",),
)
TREE = TableKind(
    "groups of a density tree",
    "embedkit cluster --method hdbscan",
    (
        Column("node", INTEGER, "number of the group, from 0, which is all rows"),
        Column("parent", INTEGER, "the group that it parted from, a smaller number; -1 of group 0"),
        Column("birth", NUMBER, "density, one over a distance, at which it parted; 0 of group 0"),
        Column("death", NUMBER, "density at which it divides in two, or its last row leaves"),
        Column("rows", INTEGER, "how many are in it as it parts"),
        Column(
            "stability",
            NUMBER,
            "its excess of mass: summed over its rows, the density at which each leaves it, less `birth`",
        ),
        Column("cluster", INTEGER, "number of the cluster that it was selected as; -1 where it was not"),
    ),
    key=("node",),
)
