"""What the examination of maps means, in words."""

from __future__ import annotations

from embedkit.scoring.paired import Difference
from reports.cam.sanity import CENTRE, LEAST, OWN, RANDOM, UNTRAINED, Sanity

ALIKE = 0.5  # rank correlation from which on two maps are called alike


def verdict(sanity: Sanity, what: str = "probability") -> str:
    """Say in a sentence or two whether the maps follow the network, which gives a probability or a share."""
    over_random, over_untrained = sanity.gain(OWN), sanity.gain(OWN, UNTRAINED)
    least = f" On {sanity.n} images that means little: {LEAST} are needed." if sanity.n < LEAST else ""
    if sanity.follows:
        said = (
            f"The maps follow the network: removing their hottest places first lowers its {what} by "
            f"{_by(over_random)} more than removing the same shapes elsewhere, and by "
            f"{_by(over_untrained)} more than maps of the same network with random weights do."
        )
    elif over_random.low <= 0 and sanity.follows is False:
        said = (
            "Don't believe the maps: removing their hottest places first costs the network no more than "
            f"removing the same shapes elsewhere, {_by(over_random)}."
        )
    elif sanity.follows is False:
        said = (
            "Don't take the maps for what the network has learnt: maps of the same network with random "
            f"weights find what matters as well, {_by(over_untrained)}."
        )
    else:
        said = (
            "Whether the maps follow the network is not settled: their hottest places matter more by "
            f"{_by(over_random)} than the same shapes elsewhere, and by {_by(over_untrained)} than those of "
            "random weights."
        )
    return f"{said}{least} {_turned(sanity)}{_centre(sanity)}"


def _by(gain: Difference) -> str:
    return f"{gain.value:.3f} ({gain.low:.3f} to {gain.high:.3f})"


def _turned(sanity: Sanity) -> str:
    turned = float(sanity.turned[OWN].mean())
    if turned < ALIKE:
        start = "But the" if sanity.follows else "The"
        return f"{start} same image turned by 90 degrees gets another map (rank correlation {turned:.2f})."
    said = f"An image turned by 90 degrees gets the same map, turned (rank correlation {turned:.2f})"
    other = float(sanity.other.mean())
    return f"{said}, but so do other images ({other:.2f})." if other >= ALIKE else f"{said}."


def _centre(sanity: Sanity) -> str:
    """Warn where the maps say no more than that the object is in the middle."""
    over_centre = sanity.gain(OWN, CENTRE)
    if over_centre.low > 0 or sanity.gain(CENTRE, RANDOM).low <= 0:
        return ""
    what = "costs it even more" if over_centre.high < 0 else "costs it as much"
    return (
        f" Removing from the middle outwards {what}, so the maps tell little beyond that the object is in "
        "the middle."
    )
