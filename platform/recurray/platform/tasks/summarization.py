"""Summarization: a document to a short text that says what it is about."""

from recurray.platform.tasks.text import TextTask


class Summarization(TextTask):
    """The best model is the one with the highest ROUGE-L of greedy summaries."""

    best_figure = "dev/rougeL"
    dev_metrics = ("rouge1", "rouge2", "rougeL")
