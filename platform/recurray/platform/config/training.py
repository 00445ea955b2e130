"""What one update is made of, and how the weights follow it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from recurray.platform.config.section import PositiveInt, Section, Share, by_kind


class OptimizerConfig(Section):
    """What makes an update of a gradient; its kind says which keys it has."""

    kind: str
    """adam, adamw or adafactor."""


class AdamConfig(OptimizerConfig):
    """Adam (Kingma & Ba 2015), with ε = 1e-8."""

    kind: str = "adam"
    """This one."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Share of the first and of the second moment that is kept from one update to the next."""


class AdamWConfig(OptimizerConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), which fairseq and Marian call Adam."""

    kind: str = "adamw"
    """This one."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Share of the first and of the second moment that is kept from one update to the next."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """An update takes this times the learning rate off every weight, as a share of it; biases and norms too."""


class AdafactorConfig(OptimizerConfig):
    """Adafactor (Shazeer & Stern 2018): second moments by rows and columns, no first moment, little memory.

    The learning rate is relative here: a tensor's update is as large as the rate times the tensor's root mean square,
    or times 0.001 where that is less. Update t uses at most a rate of 1/√t. A peak of 0.01 is the paper's.
    """

    kind: str = "adafactor"
    """This one."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """An update takes this times the learning rate off every weight, as a share of it; biases and norms too."""


OPTIMIZER_OPTIONS: dict[str, type[OptimizerConfig]] = {
    "adam": AdamConfig,
    "adamw": AdamWConfig,
    "adafactor": AdafactorConfig,
}
"""The keys of each kind of optimizer."""

AnyOptimizer = Annotated[
    SerializeAsAny[OptimizerConfig],
    BeforeValidator(by_kind("optimizer", lambda: OPTIMIZER_OPTIONS, default="adam")),
]


class ScheduleConfig(Section):
    """The learning rate over the steps; its decay says which keys it has."""

    peak: Annotated[float, Field(gt=0)] = 1e-3
    """The learning rate at the end of the warm-up."""
    warmup_steps: Annotated[int, Field(ge=0)] = 400
    """Steps over which it rises from 0, in a line."""
    decay: Literal["inverse_sqrt", "cosine", "constant", "plateau"] = "inverse_sqrt"
    """How it falls after: as peak × √(warmup / step), along half a cosine to 0 at the last step, not at all, or by
    steps where validations find nothing better."""


class PlateauScheduleConfig(ScheduleConfig):
    """A rate that stays until validations find nothing better."""

    decay: Literal["plateau"] = "plateau"
    """This one."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the rate is multiplied by when it falls."""
    patience: PositiveInt = 3
    """Validations in a row, after the warm-up, without a new best of the task's figure before it falls."""


SCHEDULE_OPTIONS: dict[str, type[ScheduleConfig]] = {
    "inverse_sqrt": ScheduleConfig,
    "cosine": ScheduleConfig,
    "constant": ScheduleConfig,
    "plateau": PlateauScheduleConfig,
}
"""The keys of each decay."""

AnySchedule = Annotated[
    SerializeAsAny[ScheduleConfig],
    BeforeValidator(by_kind("decay", lambda: SCHEDULE_OPTIONS, key="decay", default="inverse_sqrt")),
]


Precision = Literal["float32", "bfloat16"]
"""What forward and backward passes compute in."""


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
    truncation: PositiveInt | None = None
    """Source positions after which no gradient flows back through the encoder's recurrences, if set."""
    label_smoothing: Share = 0.1
    """Share of the target's probability that is spread over the vocabulary."""
    optimizer: AnyOptimizer = AdamConfig()
    """What makes an update of a gradient."""
    learning_rate: AnySchedule = ScheduleConfig()
    """The learning rate over the steps."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of a moving average of the weights that an update keeps, if set; the average is then what is validated and
    saved. After n updates it is at most (1 + n) / (10 + n), as in Marian, so that the start is soon forgotten."""
    precision: Precision = "float32"
    """What training's products compute in: numbers of 32 bits, or of 16 with as wide a range and 8 significant bits.
    Weights, gradients, optimizer, loss sums, softmaxes, validation and the saved model are float32 with either."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """The whole update's gradient is scaled down to this norm where it is longer."""
    log_every: PositiveInt = 1
    """Steps from one logged step to the next."""
    validate_every: PositiveInt = 500
    """Steps from one validation (dev loss, BLEU, chrF) to the next; the last step is always validated."""
    max_skipped: PositiveInt = 10
    """Updates in a row that may be skipped for a non-finite loss or gradient before the run ends with an error."""
