"""The tasks by name; their modules are imported when asked for, so that a recipe can be checked without PyTorch."""

from typing import TYPE_CHECKING

from recurray.models.registry import Registry

if TYPE_CHECKING:
    from recurray.platform.tasks.task import Task

TASKS: "Registry[type[Task]]" = Registry(
    "task",
    {
        "translation": "recurray.platform.tasks.translation:Translation",
        "summarization": "recurray.platform.tasks.summarization:Summarization",
    },
)
"""What can be learned, by name."""
