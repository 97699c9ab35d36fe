"""The parts of the page below the map: one module and one script each."""
