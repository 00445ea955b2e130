"""Translating texts with a saved model."""

from collections.abc import Sequence

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.text_model import TextModel


class Translator(TextModel):
    """A model ready to translate: `Translator.from_pretrained("runs/demo/model").translate(["Good morning"])`."""

    task = "translation"
    splits_long = True

    def translate(self, texts: Sequence[str], search: SearchConfig | None = None) -> list[str]:
        """One translation a text, in order; `search` replaces the model's own settings."""
        return self.predict(texts, search)
