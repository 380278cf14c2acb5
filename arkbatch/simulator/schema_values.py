"""Makes a JSON value that fits a JSON Schema, for structured answers and tool calls.

It follows what such schemas use in practice (types, enum, const, items, properties, anyOf, $ref into the same schema,
bounds of numbers). For anything else it returns a string. It never fails, and its result is bounded.
"""

from random import Random
from typing import Any

FILLING = "模拟 simulated"
_DEEPEST = 16
_MOST_VALUES = 1000
_MOST_ITEMS = 8
_EXACT = 2**53


def fit_schema(schema: Any, chance: Random) -> Any:
    """Return one value; it is the same for the same schema and seed."""
    return _Fitter(schema, chance).fit_value(schema, 0)


class _Fitter:
    """Builds a value; it knows the root schema for references, and counts the values.

    The count bounds the result, since a schema may contain itself.
    """

    def __init__(self, root: Any, chance: Random) -> None:
        self._root = root
        self._chance = chance
        self._values = 0

    def fit_value(self, schema: Any, depth: int) -> Any:
        schema = self._looked_up(schema)
        self._values += 1
        if not isinstance(schema, dict) or depth > _DEEPEST or self._values > _MOST_VALUES:
            return FILLING
        if "const" in schema:
            return schema["const"]
        for name in ("enum", "anyOf", "oneOf", "allOf"):
            options = schema.get(name)
            if isinstance(options, list) and options:
                option = options[self._chance.randrange(len(options))]
                return option if name == "enum" else self.fit_value(option, depth + 1)
        return self._fit_type(schema, depth)

    def _fit_type(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        match kind[0] if isinstance(kind, list) and kind else kind:
            case "integer":
                return round(self._fit_number(schema))
            case "number":
                return round(self._fit_number(schema), 2)
            case "boolean":
                return self._chance.random() < 0.5
            case "null":
                return None
            case "array":
                least = schema.get("minItems")
                count = min(least, _MOST_ITEMS) if isinstance(least, int) and least > 2 else 2
                return [self.fit_value(schema.get("items"), depth + 1) for _ in range(count)]
            case "object":
                inner = schema.get("properties")
                named = inner if isinstance(inner, dict) else {}
                return {name: self.fit_value(value, depth + 1) for name, value in named.items()}
        return FILLING

    def _fit_number(self, schema: dict[str, Any]) -> float:
        low, high = schema.get("minimum"), schema.get("maximum")
        least = max(-_EXACT, min(_EXACT, low)) if isinstance(low, int | float) else 0
        most = max(-_EXACT, min(_EXACT, high)) if isinstance(high, int | float) else least + 100
        return float(least + (most - least) * self._chance.random())

    def _looked_up(self, schema: Any) -> Any:
        """Return what a `$ref` such as `#/$defs/Author` points to."""
        for _ in range(_DEEPEST):
            ref = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(ref, str):
                return schema
            schema = self._root
            for step in ref.removeprefix("#").strip("/").split("/"):
                schema = schema.get(step) if isinstance(schema, dict) else None
        return None
