"""Functions that a model may call: jobs/tools.toml names this file.

What a function returns goes back to the model, as text or as JSON. An exception does too, so that the model can try
again with better arguments. Rows run beside each other, so functions may be called at the same time.
"""

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

_KNOWN = {"beijing": 4, "shanghai": 12, "guangzhou": 21, "harbin": -14}  # degrees Celsius


def current_weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> dict[str, object]:
    """The weather in a city now."""
    celsius = _KNOWN.get(city.strip().lower(), 15)
    return {"city": city, "temperature": celsius if unit == "celsius" else celsius * 9 / 5 + 32, "unit": unit}


async def forecast(city: str, days: Annotated[int, Meta(ge=1, le=7)] = 3) -> list[str]:
    """The weather in a city on each of the next days."""
    await asyncio.sleep(0.01)  # as a look-up in a database or at a service would
    return [f"day {day}: dry, {_KNOWN.get(city.strip().lower(), 15) + day} degrees" for day in range(1, days + 1)]
