"""What every group of settings is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A group of settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Threshold(Section):
    """Where a quality check turns to WARNING and to FAIL."""

    warning: float = Field(description="Beyond this value the check says WARNING.")
    fail: float = Field(description="Beyond this value the check says FAIL.")
