"""The text classifier of Huq & Pervin 2022."""

from collections.abc import Mapping

from torch import Tensor, nn

from mtlutils.models.multi_task import MultiTaskModel


class TextEncoder(nn.Module):
    """Mean of the tokens' embeddings, then a fully connected layer.

    Args:
        n_tokens: Size of the vocabulary.
        embedding_dim: Size of an embedding.
        hidden_dim: Size of the representation.
    """

    def __init__(self, n_tokens: int, embedding_dim: int, hidden_dim: int) -> None:
        super().__init__()
        # A batch holds few of the tokens: sparse gradients spare plain SGD the sweep over all the others.
        self.embedding = nn.EmbeddingBag(n_tokens, embedding_dim, mode="mean", sparse=True)
        self.hidden = nn.Linear(embedding_dim, hidden_dim)

    def forward(self, tokens: Tensor, offsets: Tensor) -> Tensor:
        """Return representations (B, hidden_dim) of texts: ``tokens`` (N,) end to end, each from its offset (B,)."""
        return self.hidden(self.embedding(tokens, offsets)).relu()


def text_classifier(n_tokens: int, n_classes: Mapping[str, int], embedding_dim: int, hidden_dim: int) -> MultiTaskModel:
    """Build the network: embedding, two fully connected layers, of which the last is split into one a task.

    Huq & Pervin 2022, section 3.2; the paper gives neither the sizes nor the activation (here: ReLU).

    Args:
        n_tokens: Size of the vocabulary.
        n_classes: Task name -> number of classes.
        embedding_dim: Size of an embedding.
        hidden_dim: Size of the representation that the tasks share.
    """
    encoder = TextEncoder(n_tokens, embedding_dim, hidden_dim)
    return MultiTaskModel(encoder, {task: nn.Linear(hidden_dim, n) for task, n in n_classes.items()})
