"""Summarizing documents with a saved model."""

from collections.abc import Sequence

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.text_model import TextModel


class Summarizer(TextModel):
    """A model ready to summarize: `Summarizer.from_pretrained("runs/demo-summarize/model").summarize([document])`.

    A document is always read whole, however long it is: the summary of its parts would not be its summary.
    """

    task = "summarization"
    splits_long = False

    def summarize(self, documents: Sequence[str], search: SearchConfig | None = None) -> list[str]:
        """One summary a document, in order; `search` replaces the model's own settings."""
        return self.predict(documents, search)
