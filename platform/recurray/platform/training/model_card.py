"""The card of a saved model: what it is, what it was trained on, what it scores and by which command."""

from collections.abc import Mapping

from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Counts


def model_card(config: RunConfig, counts: Counts, step: int, dev_figures: Mapping[str, float]) -> str:
    """The `README.md` of a run's model, in Markdown."""
    data, model, tokenizer = config.data, config.model, config.tokenizer
    corpus = data.corpus.name if data.corpus else "the sources in the run's config.yaml"
    figures = "\n".join(f"| {name} | {value:.3f} |" for name, value in dev_figures.items())
    return f"""# {config.name}: {data.src_lang} → {data.tgt_lang}

Translates {data.src_lang} to {data.tgt_lang}. Made by recurray.

- encoder: {model.encoder_layers} bidirectional LSTM layers, {model.hidden_dim} units a direction
- attention: {model.attention_heads} heads
- decoder: {model.decoder_layers} LSTM layers, {model.hidden_dim} units
- vocabulary: {tokenizer.vocab_size} joint {tokenizer.kind} pieces

    recurray translate runs/{config.name}/model --input FILE --output FILE

## Data
{corpus}: {counts.kept} of {counts.read} pairs, {counts.src_pieces} source and {counts.tgt_pieces} target pieces.

## Validation
At step {step} of {config.training.steps}, on the dev set, greedy, by sacreBLEU's default signatures:

| figure | value |
|---|---|
{figures}

Logged by `recurray train runs/{config.name}/config.yaml`. Scores on a test set with their signatures are printed by
`recurray evaluate`.
"""
