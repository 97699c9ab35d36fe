"""Frozen and self-distilled image features: extract them, cluster, probe and look at them.

Every verb of the command but ``datasets`` and ``demo`` is a function here, with its options as keywords::

    import embedkit

    embedkit.extract("my_images/", "features.h5", backbone="embedkit-galaxy")
    run = embedkit.cluster("features.h5", k=8)
    print(run.result.metrics["silhouette"].value)

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

from typing import Any

from embedkit.verbs import FUNCTIONS

# What is no verb, and where it lives.
_THINGS = {
    "EmbedkitError": "embedkit.errors:EmbedkitError",
    "UsageError": "embedkit.errors:UsageError",
    "FeatureFile": "embedkit.files.store:FeatureFile",
    "Rows": "embedkit.files.rows:Rows",
    "write_features": "embedkit.files.store:write_features",
    "Result": "embedkit.files.results:Result",
    "read_results": "embedkit.files.results:read_results",
    "load_dataset": "embedkit.datasets.load:load_dataset",
}

__all__ = sorted([*_THINGS, *FUNCTIONS])


def __getattr__(name: str) -> Any:
    from embedkit.verbs import function, target

    if name == "__version__":
        from embedkit.versions import own_version

        found: Any = own_version()
    elif name in _THINGS:
        found = target(_THINGS[name])
    elif name in FUNCTIONS:
        found = function(name)
    else:
        raise AttributeError(f"module 'embedkit' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
