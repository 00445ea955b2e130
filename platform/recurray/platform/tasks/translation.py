"""Translation: a text to the same in another language."""

from recurray.platform.tasks.text import TextTask


class Translation(TextTask):
    """The best model is the one with the highest BLEU of greedy translations."""

    best_figure = "dev/bleu"
    dev_metrics = ("bleu", "chrf")
