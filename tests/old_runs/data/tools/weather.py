"""Functions for the rows."""


def current_weather(city: str) -> dict[str, object]:
    """The weather in a city now."""
    return {"city": city, "temperature": 15}


def forecast(city: str, days: int = 3) -> list[str]:
    """The weather in a city on each of the next days."""
    raise ValueError(f"no forecast of {days} days in {city}")
