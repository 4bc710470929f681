"""A word-level LSTM language model with tied embeddings (Bagdasaryan et al., 2020)."""

from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from sparsefed.core.errors import SpecError
from sparsefed.models.base import Model

__all__ = ["LSTM", "LanguageModel"]


class LSTM(Model):
    """Logits of the next token after each position; 10,693,200 parameters for 50,000 words.

    The classes are the vocabulary. Embedding and decoder start uniform in [-0.1, 0.1], the
    decoder's bias at 0, the cells at PyTorch's default.
    """

    embedding: PositiveInt = 200
    """Length of a token's embedding."""
    hidden: PositiveInt = 200
    """Units of each LSTM layer."""
    layers: PositiveInt = 2
    """LSTM layers."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping a unit before each layer and before the decoder while training."""
    tied: bool = True
    """Whether the decoder's weight is the embedding's; then `embedding` must equal `hidden`."""

    @model_validator(mode="after")
    def _can_be_tied(self) -> Self:
        if self.tied and self.embedding != self.hidden:
            sizes = f"{self.embedding} and {self.hidden}"
            raise ValueError(f"expected `embedding` equal to `hidden` for a tied decoder, found {sizes}")
        return self

    def build(self, input_shape: tuple[int, ...], classes: int) -> nn.Module:
        if len(input_shape) != 1:
            raise SpecError(f"LSTM: expected tokens [length], found inputs of shape {list(input_shape)}")
        return LanguageModel(self, classes)


class LanguageModel(nn.Module):
    """Tokens `[batch, length]` to logits `[batch, length, vocabulary]`, from a zero initial state.

    Every layer is an `nn.LSTM` of its own, so that each one's inputs can be seen.
    """

    def __init__(self, spec: LSTM, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, spec.embedding)
        widths = [spec.embedding] + [spec.hidden] * (spec.layers - 1)
        self.cells = nn.ModuleList(nn.LSTM(width, spec.hidden, batch_first=True) for width in widths)
        self.drops = nn.ModuleList(nn.Dropout(spec.dropout) for _ in range(spec.layers + 1))
        self.decoder = nn.Linear(spec.hidden, vocabulary)
        if spec.tied:
            self.decoder.weight = self.embedding.weight
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        states = self.embedding(tokens)
        for drop, cell in zip(self.drops, self.cells, strict=False):
            states, _ = cell(drop(states))
        return self.decoder(self.drops[-1](states))
