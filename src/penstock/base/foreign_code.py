"""What a process that runs code of others is given of our environment: users' functions, servers of engines."""

from collections.abc import Mapping

_OURS = "PENSTOCK_"
_HARMLESS = frozenset({"PENSTOCK_INTERPRETED"})
"""It says how our own modules are loaded."""


def environment_for_foreign_code(environment: Mapping[str, str]) -> dict[str, str]:
    """Without our variables: they hold the secrets of the installation. Names of variables are read in any case, as settings are."""
    return {name: value for name, value in environment.items() if not name.upper().startswith(_OURS) or name in _HARMLESS}
