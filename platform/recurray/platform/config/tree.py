"""The configuration of a run: one tree, each field with its unit and meaning."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from recurray.platform.config.checkpoints import CheckpointsConfig
from recurray.platform.config.extensions import load_extensions_of
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.config.section import PositiveInt, Section, known_name
from recurray.platform.config.training import TrainingConfig
from recurray.platform.corpora.sources import Source
from recurray.platform.tasks.registry import TASKS

TaskName = Annotated[str, AfterValidator(known_name("task", TASKS.names))]


class CorpusConfig(Section):
    """A corpus that recurray can make itself: made before preparing if its folder is not there."""

    name: str
    """One of the corpora that `recurray corpus --help` lists."""
    folder: str
    """Where it lies or is to lie."""
    pair: str | None = None
    """Source and target language, such as `en-de`, for a corpus of several languages."""


class DataConfig(Section):
    """Which texts are learned from, and which pairs of them are left out."""

    src_lang: str | None = None
    """The source language's code, for the model card."""
    tgt_lang: str | None = None
    """The target language's code."""
    corpus: CorpusConfig | None = None
    """Where the sources below come from, if recurray makes them."""
    train: Annotated[list[Source], Field(min_length=1)]
    """Sources of training pairs, taken together."""
    dev: Source
    """Pairs for validation; never cleaned."""
    test: Source | None = None
    """Pairs that `recurray demo` translates and scores; training never reads them."""
    max_src_pieces: PositiveInt = 128
    """Training pairs with a source of more pieces than this are left out."""
    max_tgt_pieces: PositiveInt = 128
    """Training pairs with a target of more pieces than this are left out."""
    max_length_ratio: Annotated[float, Field(gt=1)] | None = 4.0
    """Training pairs where one side has this many times the pieces of the other, and 10 more, are left out, if set."""
    prepared: str = "data/prepared"
    """The folder that holds prepared data, one folder for each different preparation."""


class TokenizerConfig(Section):
    """SentencePiece, one vocabulary for both sides; bytes stand in for characters that it never saw."""

    vocab_size: Annotated[int, Field(gt=300)] = 8000
    """Pieces in the vocabulary, 256 bytes and 4 control pieces among them."""
    kind: Literal["unigram", "bpe"] = "unigram"
    """How pieces are chosen."""
    normalization: Literal["identity", "nfkc", "nmt_nfkc"] = "identity"
    """SentencePiece's rule for characters; identity keeps the text as written, so that `…` stays `…`."""


def _rising(workers: tuple[int, int]) -> tuple[int, int]:
    if workers[0] > workers[1]:
        raise PydanticCustomError("workers", "the fewest workers come first, as in [2, 8]")
    return workers


WorkerRange = Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_rising)]


class ResourcesConfig(Section):
    """What the run is computed on. Nothing here changes an update, so all of it may differ when a run goes on."""

    workers: PositiveInt | WorkerRange = 2
    """Ray Train workers; `[2, 8]` for as many as the cluster has room for, which may come and go."""
    threads: PositiveInt = 1
    """CPU threads a worker."""
    gpu: bool = False
    """One GPU a worker."""
    micro_batch_tokens: PositiveInt = 8192
    """Padded pieces, source and target together, that go through the model at once on one worker."""
    segment_length: PositiveInt | None = None
    """Source positions after which the encoder's layers are cut for the backward pass, if set: they keep one such
    segment's inner activations in memory, and compute all of them twice."""
    max_failures: Annotated[int, Field(ge=-1)] = 10
    """Failures of workers after which the run is given up; -1 is never."""

    @property
    def fewest_workers(self) -> int:
        """The workers without which nothing can be done."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        """The workers beyond which no more are wanted."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]


class WandbConfig(Section):
    """Where the run is shown in Weights & Biases."""

    project: str = "recurray"
    """The project."""
    entity: str | None = None
    """The user or team; your own by default."""
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """`auto` is online where a key is found, else offline."""


class RunConfig(Section):
    """A whole run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The run's name: its folder is `runs/NAME`."""
    task: TaskName = "translation"
    """What is learned: translation, summarization, or what an extension adds."""
    extensions: tuple[str, ...] = ()
    """Modules of your own that add cells, blocks, attentions, decoders, tasks or metrics when they are imported."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """What the initial weights, the order of examples and the dropout masks are made from."""
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    search: SearchConfig = SearchConfig()
    resources: ResourcesConfig = ResourcesConfig()
    wandb: WandbConfig = WandbConfig()

    _load_extensions = model_validator(mode="before")(load_extensions_of)

    @property
    def folder(self) -> str:
        """The run's folder, relative to the working directory."""
        return f"runs/{self.name}"
