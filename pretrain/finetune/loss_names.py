"""The losses by name; `pretrain.finetune.losses` computes them."""

# Which outputs of a head each of them can be of.
OUTPUTS_OF = {
    "cross-entropy": ("classes",),
    "rmse": ("sigmoid", "tree"),
    "bce": ("sigmoid",),
    "multinomial": ("tree",),
    "dirichlet": ("tree",),
}
# Those that weigh a share by how many people it is of; so many where nobody says it.
OF_COUNTS = ("multinomial", "dirichlet")
VOLUNTEERS = 40
