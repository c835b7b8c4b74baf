"""A room that remembers."""

from typing import Any

from tdbwatch.room import Room


class Ears(Room):
    """Keeps every event as (name, *args), and what became of the room."""

    def __init__(self, room: int | str, scope: str | None = None) -> None:
        super().__init__(room, scope=scope)
        self.heard: list[tuple[Any, ...]] = []
        self.life: list[str] = []

    def on_emit(self, event: str, *args: Any) -> None:
        self.heard.append((event, *args))

    async def on_join(self) -> None:
        self.life.append("joined")

    def on_leave(self) -> None:
        self.life.append("left")

    def on_delete(self) -> None:
        self.life.append("deleted")
