"""Names the entry that settings are wrong in: the decoder's own path says `[...]` for every key of a table."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_STEP = re.compile(r"\[\.\.\.\]|[^.\[\]]+")


def named_in(raw: Any, says: str, kind: Any) -> str:
    """Return the decoder's words with each `[...]` of their path replaced by the key or index that is meant.

    An entry is meant if the same words come where it stands alone. `raw` is what was decoded, `kind` as what.
    """
    found = re.search(r"`\$([^`]*)`", says)
    if found is None or "[...]" not in found[1]:
        return says
    path, trail, shown = found[1], list[Any](), "$"
    for step in _STEP.findall(path):
        if step != "[...]":
            trail.append(step)
            shown += f".{step}"
            continue
        key = next((k for k in _keys(raw, trail) if _says(_only(raw, trail, k), kind) == says), None)
        if key is None:
            return says
        raw = _only(raw, trail, key)
        trail.append(0 if isinstance(key, int) else key)
        shown += f"[{key}]" if isinstance(key, int) else f".{key}"
    return says.replace(f"`${path}`", f"`{shown}`")


def _keys(raw: Any, trail: list[Any]) -> list[Any]:
    for step in trail:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            return []
    return list(raw) if isinstance(raw, dict) else list(range(len(raw))) if isinstance(raw, list) else []


def _only(raw: Any, trail: list[Any], key: Any) -> Any:
    """Return the same, where the table or array at `trail` holds one entry alone."""
    if not trail:
        return {key: raw[key]} if isinstance(raw, dict) else [raw[key]]
    inner = _only(raw[trail[0]], trail[1:], key)
    if isinstance(raw, dict):
        return {**raw, trail[0]: inner}
    return [*raw[: trail[0]], inner, *raw[trail[0] + 1 :]]


def _says(raw: Any, kind: Any) -> str:
    try:
        msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
