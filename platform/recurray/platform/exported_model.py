"""An exported model without recurray: text from stdin, a line in and a line out, greedily, on stdout.

It stands as `run.py` in the folder of every exported model, and needs `torch` and `sentencepiece` alone:

    python run.py < sources.txt > results.txt
"""

import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import sentencepiece
import torch

BATCH_LINES = 64

load: Callable[[Path], torch.nn.Module] = torch.jit.load


class ExportedModel:
    """The programs, the vocabulary and what `interface.json` says of them."""

    def __init__(self, folder: Path) -> None:
        self.interface = json.loads((folder / "interface.json").read_text(encoding="utf-8"))
        self.start = load(folder / "start.pt")
        self.step = load(folder / "step.pt")
        self.tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))

    @torch.inference_mode()
    def predict(self, texts: list[str]) -> list[str]:
        """The likeliest piece after the other, until each text has its end or as many pieces as it may have."""
        sources = self.tokenizer.encode(texts, add_eos=True)
        pad, eos = self.interface["pieces"]["pad"], self.interface["pieces"]["eos"]
        never = torch.tensor([pad, self.interface["pieces"]["unk"], self.interface["pieces"]["bos"]])
        lengths = torch.tensor([len(source) for source in sources])
        src = torch.full((len(sources), int(lengths.max())), pad)
        for row, source in enumerate(sources):
            src[row, : len(source)] = torch.tensor(source)
        state = list(self.start(src, lengths))
        kept = self.interface["state_tensors_that_stay"]
        room = self.interface["max_length"]
        most = ((lengths * room["factor"]).long() + room["more"]).clamp_max(room["most"] or sys.maxsize)
        pieces = torch.full((len(sources),), self.interface["pieces"]["bos"])
        targets, ended = [], torch.zeros(len(sources), dtype=torch.bool)
        while not ended.all():
            scores, *changed = self.step(pieces, src, lengths, state)
            state[kept:] = changed
            pieces = scores.index_fill(1, never, -torch.inf).argmax(dim=1)
            targets.append(pieces.masked_fill(ended, pad))
            ended |= (pieces == eos) | (len(targets) + 1 >= most)
        rows = torch.stack(targets, dim=1).tolist()
        results = self.tokenizer.decode([[piece for piece in row if piece not in (pad, eos)] for row in rows])
        return [" ".join(str(text).split()) for text in results]


def main() -> None:
    """A line out for each line in; an empty one for one without text."""
    model = ExportedModel(Path(__file__).parent)
    while lines := list(islice(sys.stdin.buffer, BATCH_LINES)):
        texts = [" ".join(line.decode(errors="replace").split()) for line in lines]
        results = iter(model.predict([text for text in texts if text]) if any(texts) else [])
        for text in texts:
            print(next(results) if text else "", flush=True)


if __name__ == "__main__":
    main()
