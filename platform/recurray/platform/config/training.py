"""What one update is made of, and how the weights follow it."""

from typing import Annotated, Literal

from pydantic import Field

from recurray.platform.config.section import PositiveInt, Section, Share


class ScheduleConfig(Section):
    """The learning rate over the steps."""

    peak: Annotated[float, Field(gt=0)] = 1e-3
    """The learning rate at the end of the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 400
    """Steps over which it rises from 0, in a line."""
    decay: Literal["inverse_sqrt", "cosine"] = "inverse_sqrt"
    """How it falls after: as peak × √(warmup / step), or along half a cosine to 0 at the last step."""


class TrainingConfig(Section):
    """What one update is made of, how many there are, and what is done between them."""

    steps: PositiveInt
    """Updates of the weights in the whole run."""
    batch_tokens: PositiveInt = 4096
    """Target pieces per update, on average over an epoch."""
    sort_window: PositiveInt = 32
    """Updates whose examples are sorted by length together, so that one update's examples are of like length."""
    init_from: str | None = None
    """A saved model, folder or URI, to start from: what has the same name and shape, and the pieces that both have."""
    src_vectors: str | None = None
    """Word vectors, in the text format of word2vec and fastText, to start the source embeddings from."""
    tgt_vectors: str | None = None
    """The same for the target embeddings."""
    label_smoothing: Share = 0.1
    """Share of the target's probability that is spread over the vocabulary."""
    learning_rate: ScheduleConfig = ScheduleConfig()
    """The learning rate over the steps."""
    adam_betas: tuple[Share, Share] = (0.9, 0.98)
    """Decay of Adam's first and second moments."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """The whole update's gradient is scaled down to this norm where it is longer."""
    log_every: PositiveInt = 1
    """Steps from one logged step to the next."""
    validate_every: PositiveInt = 500
    """Steps from one validation (dev loss, BLEU, chrF) to the next; the last step is always validated."""
    max_skipped: PositiveInt = 10
    """Updates in a row that may be skipped for a non-finite loss or gradient before the run ends with an error."""
