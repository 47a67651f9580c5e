"""What a monthly batch says of itself."""

from pydantic import BaseModel, ConfigDict


class Month(BaseModel):
    """What became of one month: `error` is empty when its file was written, `where` then says which that is."""

    model_config = ConfigDict(frozen=True)

    month: str
    rows: int
    where: str | None = None
    error: str = ""
