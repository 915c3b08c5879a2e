"""The settings that say what work costs."""

from pydantic import Field

from phoenix.settings.value_types import SettingsGroup


class PriceSettings(SettingsGroup):
    """What `POST /v1/estimates` calculates prices with. Nothing is billed."""

    device_hour: float | None = Field(
        default=None, ge=0, description="Price of one device for an hour; estimates have no price if unset."
    )
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="Of all prices, as ISO 4217 writes it.")
